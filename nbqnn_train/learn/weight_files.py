"""Reads weights from files that other programs wrote, without running code from them."""

import argparse
import re
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["read_weights"]

#: Endings of the files that ``torch.save`` writes, by habit.
_TORCH = (".pth", ".pt", ".th", ".ckpt", ".bin", ".tar")
#: Under which of these names checkpoints keep the weights, beside other things; the first counts.
_NESTED = (
    *("state_dict", "model_state_dict", "model", "net", "network", "weights", "params"),
    "state_dict_ema",
)
_REMEDY = "remedy: torch.save(model.state_dict(), FILE)"
#: What checkpoints hold beside weights, such as options and the best accuracy, and what is data.
_DATA = [
    *(argparse.Namespace, np.dtype, np.ndarray),
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?")),
    *(
        (np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar")
        for core in ("core", "_core")
    ),
    *(
        (np.zeros(1).__reduce__()[0], f"numpy.{core}.multiarray._reconstruct")
        for core in ("core", "_core")
    ),
]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Named tensors of a ``.safetensors`` file, or of a file of ``torch.save`` that holds them at
    its top or under a name such as ``state_dict``, ``model`` or ``net``.

    Beside the weights there may be numbers, options and arrays of NumPy. Raises :class:`NbqnnError`
    for anything else, and for a pickle that asks for more than data.
    """
    kind = path.suffix.lower()
    if kind == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise NbqnnError(f"{path} must be a safetensors file: {_line(error)}") from None
    if kind not in _TORCH:
        raise NbqnnError(
            f"Weights must be a .safetensors file, or one of torch.save in {', '.join(_TORCH)}, "
            f"not {str(path)!r}"
        )
    if not path.is_file():
        reason = "it is a folder" if path.exists() else "there is no such file"
        raise NbqnnError(f"Weights {str(path)!r} cannot be read: {reason}")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_DATA):
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
    # Of the unpickler, at bytes that are no pickle.
    if isinstance(error, (EOFError, LookupError)) or "Unsupported operand" in text:
        return "torch.save did not write it"
    if isinstance(error, OSError) or "zip archive" in text:
        return "it is cut off or damaged"
    if refused := re.search(r"WeightsUnpickler error: (.+)", text):
        return refused[1].strip()
    return _line(error)


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
