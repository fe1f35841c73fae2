"""From pictures to inputs of a network, and from its outputs to classes. Never loads torch."""
