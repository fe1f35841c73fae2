"""Commands: what the accelerator executes, and the engines that execute it."""
