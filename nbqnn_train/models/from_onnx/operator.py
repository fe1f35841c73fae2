"""One operator of a model, and the table of builders that make modules of operators."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.qonnx.model import Model, Operator

__all__ = ["BUILDERS", "Apply", "Part", "builder", "real"]

#: Kind of operator -> function that returns a module; its arguments are the inputs that are not
#: constants.
BUILDERS: dict[str, Callable[["Part"], nn.Module]] = {}


def builder(*kinds: str) -> Callable:
    """Enters a function in the table for operators of these kinds."""

    def enter(function: Callable[["Part"], nn.Module]) -> Callable:
        for kind in kinds:
            BUILDERS[kind] = function
        return function

    return enter


def real(values: np.ndarray) -> Tensor:
    """A constant as a tensor; floating point as float32."""
    if values.dtype.kind not in "iub":
        values = values.astype(np.float32)
    return torch.from_numpy(np.array(values))


@dataclass(frozen=True)
class Part:
    """One operator of a model, with what its builder needs.

    learns : whether the constants that it adds or multiplies by are learned. They are if layers
        with weights come before it.
    parameters : by name of the constant, how it is reshaped and which operators share it.
    """

    operator: Operator
    model: Model
    learns: bool
    parameters: dict[tuple, nn.Parameter]

    def refuse(self, text: str) -> GraphError:
        return GraphError(f"{self.operator.what}: {text}")

    def has(self, place: int) -> bool:
        """Whether there is an input at ``place``."""
        return place < len(self.operator.inputs) and self.operator.inputs[place] != ""

    def is_constant(self, place: int) -> bool:
        return self.has(place) and self.operator.inputs[place] in self.model.constants

    def constant(self, place: int) -> np.ndarray | None:
        """The constant at ``place``; None where there is no input."""
        if not self.has(place):
            return None
        found = self.model.constants.get(self.operator.inputs[place])
        if found is None:
            raise self.refuse(f"input {place} must be a constant, not computed from the input")
        return found

    def number(self, place: int) -> float | None:
        """The constant of one element at ``place``."""
        found = self.constant(place)
        if found is None:
            return None
        if found.size != 1:
            raise self.refuse(f"input {place} must be one number, not of shape {found.shape}")
        return float(found.reshape(()))

    def integers(self, place: int, name: str) -> list[int] | None:
        """Constant integers: the input at ``place``, in older versions the attribute ``name``."""
        if self.has(place):
            return [int(value) for value in self.constant(place).reshape(-1)]
        found = self.operator.attributes.get(name)
        return None if found is None else list(self.operator.integers(name))

    def parameter(
        self, place: int, change: str = "", factor: float = 1.0, shared: str = ""
    ) -> nn.Parameter | None:
        """The weights at ``place``; ``change`` "transposed" turns a matrix round, "flat" makes a
        list of it.

        Exporters store equal weights once; here each operator has its own. Operators that share the
        tensor called ``shared`` share these weights, too.
        """
        found = self.constant(place)
        if found is None:
            return None
        key = self.operator.inputs[place], change, factor, shared or self.operator.outputs[0]
        if key not in self.parameters:
            tensor = real(found).float() * factor
            if change == "transposed":
                tensor = tensor.t().contiguous()
            elif change == "flat":
                tensor = tensor.reshape(-1)
            self.parameters[key] = nn.Parameter(tensor)
        return self.parameters[key]

    def shape(self, place: int) -> tuple[int, ...]:
        """Shape of the input at ``place``, for a batch of one."""
        return self._shape(self.operator.inputs[place])

    def result_shape(self) -> tuple[int, ...]:
        """Shape of the first output, for a batch of one."""
        return self._shape(self.operator.outputs[0])

    def _shape(self, name: str) -> tuple[int, ...]:
        found = self.model.shapes.get(name)
        if found is None:
            raise self.refuse(f"the shape of {name!r} must follow from the file")
        return found

    def applied(self, function: Callable[..., Tensor]) -> "Apply":
        """``function`` of all inputs; constants are numbers, weights or buffers of the module."""
        constants = {}
        for place, name in enumerate(self.operator.inputs):
            if not self.is_constant(place):
                continue
            values = self.model.constants[name]
            if values.size == 1 and values.dtype.kind == "f":
                constants[place] = float(values.reshape(()))
            elif self.learns and values.dtype.kind == "f":
                constants[place] = self.parameter(place)
            else:
                constants[place] = real(values)
        return Apply(function, constants)


class Apply(nn.Module):
    """A function of values and of constants.

    constants : by their places among the arguments.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        constants: dict[int, float | nn.Parameter | Tensor] | None = None,
    ):
        super().__init__()
        self.function = function
        self.numbers: dict[int, float] = {}
        self.places: set[int] = set()
        for place, value in (constants or {}).items():
            if isinstance(value, nn.Parameter):
                self.register_parameter(f"constant{place}", value)
            elif isinstance(value, Tensor):
                self.register_buffer(f"constant{place}", value)
            else:
                self.numbers[place] = value
            self.places.add(place)

    def forward(self, *values: Tensor) -> Tensor:
        remaining = iter(values)
        return self.function(
            *(
                self._constant(place) if place in self.places else next(remaining)
                for place in range(len(values) + len(self.places))
            )
        )

    def _constant(self, place: int) -> float | Tensor:
        return self.numbers[place] if place in self.numbers else getattr(self, f"constant{place}")
