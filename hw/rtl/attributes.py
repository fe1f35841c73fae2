"""Attributes that tell tools what they cannot see."""

__all__ = ["NOT_MERGED", "NO_COLLISIONS"]

#: Of a register that is not merged with an equal one: each is near what it drives.
NOT_MERGED = {"keep": "true"}
#: Of a memory of which no word is read while it is written, or not used if it is. What Yosys adds
#: for that case where block memories leave it open (ECP5) stays away then: a table behind each bit,
#: a register in front of it, and a comparison of addresses.
NO_COLLISIONS = {"no_rw_check": True}
