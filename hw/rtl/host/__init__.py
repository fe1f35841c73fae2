"""A serial line and a memory, for boards without a processor system."""
