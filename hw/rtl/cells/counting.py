"""Small counters in tables. A carry chain would add a level of logic, and more behind it."""

from amaranth.hdl import Cat, Value

__all__ = ["decremented", "incremented", "stepped"]


def incremented(value: Value) -> Value:
    """``value + 1``, in as many bits."""
    return value ^ Cat(1, (value[:bit].all() for bit in range(1, len(value))))


def decremented(value: Value) -> Value:
    """``value - 1``, in as many bits."""
    return value ^ Cat(1, (~value[:bit].any() for bit in range(1, len(value))))


def stepped(value: Value, up: Value, down: Value) -> Value:
    """``value + up - down``, in as many bits; ``up`` and ``down`` are bits that may be late."""
    rises, falls = up & ~down, down & ~up
    turns = [rises | falls]
    for bit in range(1, len(value)):
        turns.append((rises & value[:bit].all()) | (falls & ~value[:bit].any()))
    return value ^ Cat(turns)
