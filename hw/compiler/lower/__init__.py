"""Nodes of the graph become layers of the accelerator."""

from hw.compiler.lower.lower import lower

__all__ = ["lower"]
