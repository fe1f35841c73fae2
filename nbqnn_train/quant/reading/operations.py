"""The reading of a network: its operations in order, its outputs, and notes."""

from dataclasses import dataclass, field

from torch import Tensor, nn

__all__ = ["Operation", "Output", "Reading"]


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
    """One tensor that the module returns.

    name : of the operation that computes it.
    arrangement : steps from the operation's value to what the module returns: ("view", shape) and
        ("permute", order), both without the batch, or ("series", ()), which makes series of maps of
        height 1.
    final : what the module applies last and the quantized network leaves out: "none", "softmax",
        "log_softmax", "sigmoid" or "argmax".
    """

    name: str
    arrangement: tuple[tuple[str, tuple[int, ...]], ...]
    final: str = "none"


@dataclass
class Reading:
    """A module that was read with inputs of one size.

    operations : in topological order.
    outputs : the tensors that the module returns, flat.
    inputs : by the name of each input operation the shape that the module takes, without the batch.
    in_spec, out_spec : how the module's inputs and outputs are nested (``torch.utils._pytree``).
    notes : one line each, for the user.
    absent : places of None among what the module returns, flat.
    rounded : whether constants were computed from parameters, and rounded.
    """

    operations: list[Operation]
    outputs: list[Output]
    inputs: dict[str, tuple[int, ...]]
    in_spec: object
    out_spec: object
    notes: list[str] = field(default_factory=list)
    absent: tuple[int, ...] = ()
    rounded: bool = False

    def __deepcopy__(self, memo) -> "Reading":
        return self  # it does not change
