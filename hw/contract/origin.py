"""What a build was made from. It shows that simulation and board have the same RTL."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from nbqnn_train.graph.commit import source_commit
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["Origin", "check_same_build", "rtl_digest", "source_commit"]

_LONGEST = 100


def rtl_digest(verilog: str) -> str:
    """SHA-256 of a Verilog text, 64 hexadecimal digits."""
    return hashlib.sha256(verilog.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a build was made from. Programs, results and bitstream folders carry it on.

    ``rtl`` is the digest of the build's ``rtl/nbqnn.v``, ``tools`` the versions of the tools that
    wrote it, by name, and ``commit`` the commit of nbqnn (:func:`source_commit`).
    """

    rtl: str
    tools: Mapping[str, str]
    commit: str | None

    def to_dict(self) -> dict:
        """The fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> "Origin":
        """The origin from JSON. Raises :exc:`ValueError`, which names the field that is wrong."""
        if not isinstance(values, dict) or values.keys() != {"rtl", "tools", "commit"}:
            raise ValueError("build must have the fields rtl, tools and commit")
        rtl, tools, commit = values["rtl"], values["tools"], values["commit"]
        if not isinstance(rtl, str) or not re.fullmatch(r"[0-9a-f]{64}", rtl):
            raise ValueError(f"build's rtl must be 64 hexadecimal digits, not {str(rtl)[:80]!r}")
        if not isinstance(tools, dict) or not all(map(_is_word, (*tools, *tools.values()))):
            raise ValueError("build's tools must be versions by name")
        if commit is not None and not _is_word(commit):
            raise ValueError(f"build's commit must be a word, not {str(commit)[:80]!r}")
        return cls(rtl=rtl, tools=tools, commit=commit)

    @property
    def short(self) -> str:
        """A short text for people: the digest's first digits, and the commit."""
        return f"{self.rtl[:12]}" + (f" of commit {self.commit}" if self.commit else "")


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()


def check_same_build(
    one: str, made_with: Origin | None, other: str, origin: Origin | None, remedy: str
) -> None:
    """Raises :exc:`NbqnnError` if two things have different RTL. No origin fits any origin.

    ``one`` and ``other`` name them, ``remedy`` says what to do.
    """
    if made_with is not None and origin is not None and made_with.rtl != origin.rtl:
        raise NbqnnError(
            f"{one} must be of the same RTL as {other}, but is of {made_with.short}, "
            f"not {origin.short}; remedy: {remedy}"
        )
