"""Small counters in tables alone: a carry chain would be a level of its own, and begin another."""

from amaranth.hdl import Cat, Value

__all__ = ["decremented", "incremented", "stepped"]


def incremented(value: Value) -> Value:
    """``value + 1``, in as many bits."""
    return value ^ Cat(1, (value[:bit].all() for bit in range(1, len(value))))


def decremented(value: Value) -> Value:
    """``value - 1``, in as many bits."""
    return value ^ Cat(1, (~value[:bit].any() for bit in range(1, len(value))))


def stepped(value: Value, up: Value, down: Value) -> Value:
    """``value + up - down`` for single bits, in as many bits; these may come late in a cycle."""
    rises, falls = up & ~down, down & ~up
    turns = [rises | falls]
    for bit in range(1, len(value)):
        turns.append((rises & value[:bit].all()) | (falls & ~value[:bit].any()))
    return value ^ Cat(turns)
