"""The result of ``check``: what a network becomes, or what is refused."""

from dataclasses import dataclass
from typing import ClassVar

from nbqnn_train.graph.results import Result

__all__ = ["CheckResult", "CheckedLayer", "CheckedModule", "HardwareCost", "RefusedPlace"]


@dataclass(frozen=True, kw_only=True)
class RefusedPlace:
    """One place of a network that is refused; texts are empty where nothing is known.

    stage : "convert", "export" or "compile".
    kind : of refusal, see :class:`nbqnn_train.quant.reading.refusals.Refusal`; None after convert.
    path : of the module.
    source : "file:line" in the user's code.
    operation : name of PyTorch's operator.
    """

    stage: str
    path: str
    source: str
    operation: str
    reason: str
    remedy: str
    kind: str | None = None


@dataclass(frozen=True, kw_only=True)
class CheckedModule:
    """An innermost module of the network.

    kind : name of its class.
    parameters : number of learned parameters.
    shape : of its output without the batch; None if it is not called or gives no tensor.
    refused : why, or None.
    """

    path: str
    kind: str
    parameters: int
    shape: tuple[int, ...] | None
    refused: str | None


@dataclass(frozen=True, kw_only=True)
class CheckedLayer:
    """A layer of the integer graph. Fields that it does not have are None.

    becomes : kinds of its nodes.
    shape : of its output.
    weight_bytes : bytes of weights and requantizer in the graph's file.
    map_bytes : bytes of its output.
    cycles, utilization : those of one image, where the graph compiles.
    lut : look-up tables, estimated, where the network becomes a circuit.
    """

    name: str
    becomes: tuple[str, ...]
    shape: tuple[int, ...] | None
    weight_bits: int | None
    act_bits: int | None
    acc_bits: int | None
    macs: int | None
    weight_bytes: int | None
    map_bytes: int | None
    cycles: int | None
    utilization: float | None
    lut: int | None = None


@dataclass(frozen=True, kw_only=True)
class HardwareCost:
    """A configuration and, where the graph compiles, what one image costs on it.

    lut : look-up tables, estimated, of a network that becomes a circuit.
    """

    name: str
    cycles_per_image: float | None = None
    images_per_second: float | None = None
    clock_mhz: int | None = None
    utilization: float | None = None
    lut: int | None = None


@dataclass(frozen=True, kw_only=True)
class CheckResult(Result):
    """The layers that a network becomes, or what is refused of it.

    accepted : whether nothing is refused.
    layers : layers of the integer graph; empty if there is no graph.
    notes : notes of the conversion.
    """

    kind: ClassVar[str] = "check"

    model: str
    input_shape: tuple[int, ...]
    accepted: bool
    refusals: tuple[RefusedPlace, ...]
    modules: tuple[CheckedModule, ...]
    layers: tuple[CheckedLayer, ...]
    hardware: HardwareCost
    notes: tuple[str, ...] = ()
