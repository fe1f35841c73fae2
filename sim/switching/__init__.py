"""How often the nets of a mapped element switch while it computes a layer."""
