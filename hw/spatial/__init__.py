"""A network as a circuit of its own: weights are wiring, a layer is only additions."""
