"""Reads weights from files that other programs wrote, without running code from them."""

import re
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["read_weights"]

#: Under which of these names checkpoints keep the weights, beside other things.
_NESTED = ("state_dict", "model_state_dict", "model")
_REMEDY = "remedy: torch.save(model.state_dict(), FILE)"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Named tensors of a ``.safetensors`` file, or of a ``.pth``/``.pt`` file that holds tensors
    alone, at its top or under ``state_dict``, ``model_state_dict`` or ``model``.

    Raises :class:`NbqnnError` for anything else, and for a pickle that asks for more than tensors.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise NbqnnError(f"{path} must be a safetensors file: {_line(error)}") from None
    if path.suffix not in (".pth", ".pt"):
        raise NbqnnError(f"Weights must be a .safetensors, .pth or .pt file, not {str(path)!r}")
    if not path.is_file():
        reason = "it is a folder" if path.exists() else "there is no such file"
        raise NbqnnError(f"Weights {str(path)!r} cannot be read: {reason}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of what is refused anyway
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no weights make torch raise anything
        raise NbqnnError(
            f"{path} must hold named tensors and nothing else: {_reason(error)}; {_REMEDY}"
        ) from None
    nested = [name for name in _NESTED if isinstance(state, dict) and name in state]
    if nested and isinstance(state[nested[0]], dict):
        state = state[nested[0]]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise NbqnnError(f"{path} must hold named tensors, not {_content(state)}; {_REMEDY}")
    return dict(state)


def _content(state: object) -> str:
    if not isinstance(state, dict):
        return type(state).__name__
    others = [
        f"{name!r} ({type(value).__name__})"
        for name, value in state.items()
        if not isinstance(name, str) or not isinstance(value, Tensor)
    ]
    return ", ".join(others[:3])


def _reason(error: Exception) -> str:
    text = str(error)
    if "TorchScript" in text:
        return "it is a TorchScript archive"
    if wanted := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it asks for {wanted[1]}, as a whole model does, which is not loaded"
    if isinstance(error, (EOFError, LookupError)):  # of the unpickler, at bytes that are no pickle
        return "torch.save did not write it"
    return _line(error)


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
