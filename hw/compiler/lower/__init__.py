"""From nodes of the graph to layers of the accelerator."""

from hw.compiler.lower.lower import lower

__all__ = ["lower"]
