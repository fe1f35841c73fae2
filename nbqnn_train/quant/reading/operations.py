"""The reading of a network: its operations in order, its outputs, and notes."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

__all__ = ["Join", "Operation", "Output", "Part", "Reading"]


@dataclass
class Operation:
    """One step of a network, before it is quantized.

    kind : input, conv, linear, norm, affine, relu, max_pool, avg_pool, add, concat, flatten,
        select or training (active in training only).
    name : unique, a Python identifier.
    inputs : names of the operations that it reads.
    path : path of the module, or of the module in which a function is called.
    source : "file:line" of the call in the user's code; empty where there is none.
    operation : name of PyTorch's operator, such as ``conv2d``.
    node : name of the node of the exported graph that has the same value with its elements in the
        same order; empty where there is none.
    shape : of the value without the batch, (C, H, W) or (F,).
    settings : of the operation, by name.
    tensors : parameters and buffers of the module that was read, or constants, by role.
    module : for kind ``training``, the module that is called in training.
    """

    kind: str
    name: str
    inputs: list[str]
    path: str = ""
    source: str = ""
    operation: str = ""
    node: str = ""
    shape: tuple[int, ...] = ()
    settings: dict = field(default_factory=dict)
    tensors: dict[str, Tensor | None] = field(default_factory=dict)
    module: nn.Module | None = None

    def covers(self, source: "Operation") -> bool:
        """Whether one window pools the whole map of ``source``."""
        kernel = self.settings.get("kernel")
        return (
            kernel is not None
            and self.kind in ("max_pool", "avg_pool")
            and kernel == source.shape[1:]
            and not any(self.settings["padding"])
        )


@dataclass(frozen=True)
class Output:
    """One output of the quantized network.

    name : of the operation that computes it.
    final : what the module applies last and the quantized network leaves out: "none", "softmax",
        "log_softmax", "sigmoid" or "argmax".
    """

    name: str
    final: str = "none"


#: From one tensor to another: ("view", shape) and ("permute", order), both without the batch, or
#: ("series", ()), which makes a series of a map of height 1.
_Steps = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Part:
    """A tensor that the module returns, or a part of one: output number ``output``, arranged."""

    output: int
    steps: _Steps

    @property
    def outputs(self) -> list[int]:
        """The numbers of all outputs in it."""
        return [self.output]

    @property
    def outline(self) -> tuple:
        """What is the same for inputs of another size."""
        return self.output, *(kind for kind, _ in self.steps)

    def of(self, outputs: list[Tensor]) -> Tensor:
        """The tensor, from all outputs."""
        return _arranged(outputs[self.output], self.steps)


@dataclass(frozen=True)
class Join:
    """What the module concatenates last, along ``dim``, not counting the batch; then arranged."""

    parts: tuple["Part | Join", ...]
    dim: int
    steps: _Steps

    @property
    def outputs(self) -> list[int]:
        return [number for part in self.parts for number in part.outputs]

    @property
    def outline(self) -> tuple:
        parts = tuple(part.outline for part in self.parts)
        return self.dim, parts, *(kind for kind, _ in self.steps)

    def of(self, outputs: list[Tensor]) -> Tensor:
        return _arranged(torch.cat([p.of(outputs) for p in self.parts], self.dim + 1), self.steps)


def _arranged(value: Tensor, steps: _Steps) -> Tensor:
    for kind, argument in steps:
        if kind == "permute":
            value = value.permute(0, *(d + 1 for d in argument))
        else:
            value = value.squeeze(2) if kind == "series" else value.reshape(-1, *argument)
    return value


@dataclass
class Reading:
    """A module that was read with inputs of one size.

    operations : in topological order.
    outputs : of the quantized network.
    results : how the tensors that the module returns are made of them, flat.
    inputs : by the name of each input operation the shape that the module takes, without the batch.
    in_spec, out_spec : how the module's inputs and outputs are nested (``torch.utils._pytree``).
    notes : one line each, for the user.
    absent : places of None among what the module returns, flat.
    rounded : whether constants were computed from parameters, and rounded.
    """

    operations: list[Operation]
    outputs: list[Output]
    results: list[Part | Join]
    inputs: dict[str, tuple[int, ...]]
    in_spec: object
    out_spec: object
    notes: list[str] = field(default_factory=list)
    absent: tuple[int, ...] = ()
    rounded: bool = False

    def __deepcopy__(self, memo) -> "Reading":
        return self  # it does not change
