"""The boards that an accelerator is built for."""
