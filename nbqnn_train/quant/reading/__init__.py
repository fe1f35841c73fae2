"""Reading a PyTorch module: what it computes, as operations that can be quantized."""
