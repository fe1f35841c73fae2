"""A model as it is read: operators in order, constants, inputs, outputs, shapes."""

from dataclasses import dataclass, field

import numpy as np

from nbqnn_train.graph.errors import GraphError, NbqnnError

__all__ = ["Model", "ModelInput", "Operator", "first_line", "require_onnx"]


@dataclass(frozen=True)
class Operator:
    """One node of the model."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict
    domain: str = ""

    @property
    def what(self) -> str:
        """Its name in messages."""
        # In a damaged model an operator's kind can be any text.
        readable = isinstance(self.kind, str) and self.kind.isprintable()
        kind = self.kind if readable else repr(self.kind)
        return f"{kind[:60]} {self.name[:120]!r}"

    def integer(self, name: str, default: int | None = None) -> int:
        """Attribute ``name``; :class:`GraphError` where it is none."""
        value = self.attributes.get(name, default)
        if type(value) is not int:
            raise GraphError(f"{self.what}: {name} must be an integer, not {value!r}")
        return value

    def integers(self, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Attribute ``name``; :class:`GraphError` where it holds others."""
        value = self.attributes.get(name, default)
        if not isinstance(value, (list, tuple)) or not all(type(v) is int for v in value):
            raise GraphError(f"{self.what}: {name} must be integers, not {value!r}")
        return tuple(value)

    def text(self, name: str, default: str) -> str:
        """Attribute ``name`` in upper case; :class:`GraphError` where it is no text."""
        value = self.attributes.get(name, default.encode())
        if not isinstance(value, bytes):
            raise GraphError(f"{self.what}: {name} must be text, not {value!r}")
        return value.decode("ascii", "replace").upper()

    def number(self, name: str, default: float) -> float:
        """Attribute ``name``; :class:`GraphError` where it is none."""
        value = self.attributes.get(name, default)
        if type(value) not in (int, float) or not np.isfinite(value):
            raise GraphError(f"{self.what}: {name} must be a finite number, not {value!r}")
        return value


@dataclass(frozen=True)
class ModelInput:
    """An input of the model.

    shape : in the graph, (C, H, W) or (F,). A series (N, C, L) of the model is (C, 1, L).
    integers : (signed, bits) where it holds integers, None where it holds floating point.
    channels_last : whether the model takes (N, H, W, C) and transposes it.
    """

    name: str
    shape: tuple[int, ...]
    integers: tuple[bool, int] | None = None
    channels_last: bool = False


@dataclass(frozen=True)
class Model:
    """Operators in order, constants by name, inputs, names of outputs.

    shapes : of tensors by name, with a batch of one, as far as they are known.
    turned : names of tensors that are channels first here and channels last in the file.
    opset : version of ONNX's own operators; 0 where there are none.
    """

    operators: tuple[Operator, ...]
    constants: dict[str, np.ndarray]
    inputs: tuple[ModelInput, ...]
    outputs: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    opset: int = 0
    turned: frozenset[str] = frozenset()


def require_onnx():
    """The ``onnx`` package. Raises an error of one line if it is not installed."""
    try:
        import onnx
    except ImportError as error:
        raise NbqnnError("ONNX files need the package onnx: pip install onnx") from error
    return onnx


def first_line(error: BaseException) -> str:
    """The first line of another package's exception."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return text if len(text) <= 300 else text[:297] + "..."
