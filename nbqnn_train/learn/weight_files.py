"""Reads weights from files that other programs wrote, without running code from them."""

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["read_weights"]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Named tensors of a ``.safetensors`` file, or of a ``.pth`` or ``.pt`` file of tensors alone.

    Raises :class:`NbqnnError` for anything else, and for a pickle that asks for more than tensors.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise NbqnnError(f"{path} must be a safetensors file: {_line(error)}") from None
    if path.suffix not in (".pth", ".pt"):
        raise NbqnnError(f"Weights must be a .safetensors, .pth or .pt file, not {str(path)!r}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise NbqnnError(
            f"{path} must hold named tensors and nothing else: {_line(error)}"
        ) from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise NbqnnError(f"{path} must hold named tensors, not {type(state).__name__}")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
