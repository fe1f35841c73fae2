"""Layers that learn power-of-two weights and fixed-point activations."""
