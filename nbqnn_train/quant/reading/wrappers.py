"""Looks through what PyTorch wraps around modules to run them faster."""

from contextlib import AbstractContextManager

import torch
from torch import nn

__all__ = ["uncompiled", "unwrapped"]


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside of ``torch.compile``, ``DataParallel`` or ``DistributedDataParallel``."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(module, parallel):
            module = module.module
        elif hasattr(module, "_orig_mod"):  # of torch.compile
            module = module._orig_mod
        else:
            return module


def uncompiled() -> AbstractContextManager:
    """A context in which what ``torch.compile`` was given runs as it was written."""
    return torch.compiler.set_stance("force_eager")
