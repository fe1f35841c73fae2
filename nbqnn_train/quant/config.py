"""How a network and its layers are quantized."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.limits import ACT_BITS, WEIGHT_BITS
from nbqnn_train.quant.estimators import estimator

__all__ = ["LayerConfig", "QuantConfig"]

_REQUANT_MODES = ("shift", "scale")
_GRANULARITIES = ("channel", "tensor")


def _check_bits(name: str, value: int, allowed: tuple[int, int]) -> None:
    if type(value) is not int or not allowed[0] <= value <= allowed[1]:
        raise NbqnnError(f"{name} must be in {allowed[0]}..{allowed[1]}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class LayerConfig:
    """How one layer is quantized.

    weight_bits : 2 ... 6, zero and signed powers of two.
    act_bits : 2 ... 16, of the layer's output.
    weight_exponents : "channel" (one step per output channel) or "tensor".
    percentile : None chooses activation steps of the least squared error; else the share (in
        percent, up to 100) of magnitudes that must not be clipped.
    """

    weight_bits: int = 3
    act_bits: int = 8
    weight_exponents: str = "channel"
    percentile: float | None = None

    def __post_init__(self):
        _check_bits("Weight bits", self.weight_bits, WEIGHT_BITS)
        _check_bits("Activation bits", self.act_bits, ACT_BITS)
        if self.weight_exponents not in _GRANULARITIES:
            raise NbqnnError(
                f"Weight exponents must be per {' or '.join(_GRANULARITIES)}, "
                f"not {self.weight_exponents!r}"
            )
        if self.percentile is not None and not 0 < self.percentile <= 100:
            raise NbqnnError(f"Percentile must be in (0, 100], not {self.percentile!r}")


@dataclass(frozen=True, kw_only=True)
class QuantConfig(LayerConfig):
    """How a network is quantized.

    input_bits : of the network's inputs, 2 ... 16; None is ``act_bits``. Images have 8.
    output_bits : of the network's outputs, 2 ... 16, whatever ``overrides`` say; None leaves them
        as wide as their layers make them.
    requant_mode : "shift" (requantizers only shift and add) or "scale" (16-bit multipliers).
    estimator : what training passes through the projection; see
        :mod:`nbqnn_train.quant.estimators`.
    overrides : by module path or pattern (``"conv1"``, ``"layer1.*"``), fields of
        :class:`LayerConfig` that differ there, such as ``{"conv1": {"weight_bits": 4}}``. Later
        ones win.
    """

    input_bits: int | None = None
    output_bits: int | None = None
    requant_mode: str = "shift"
    estimator: str = "reconstructed"
    overrides: Mapping[str, Mapping] = field(default_factory=dict)

    def __post_init__(self):
        super().__post_init__()
        for name, bits in (("Input", self.input_bits), ("Output", self.output_bits)):
            if bits is not None:
                _check_bits(f"{name} bits", bits, ACT_BITS)
        if self.requant_mode not in _REQUANT_MODES:
            raise NbqnnError(
                f"Requantization mode must be {' or '.join(_REQUANT_MODES)}, "
                f"not {self.requant_mode!r}"
            )
        estimator(self.estimator)
        for pattern, changes in self.overrides.items():
            if not isinstance(changes, Mapping):
                raise NbqnnError(f"Override of {pattern!r} must be a table, not {changes!r}")
            allowed = LayerConfig.__dataclass_fields__
            for name in changes:
                if name not in allowed:
                    raise NbqnnError(
                        f"Override of {pattern!r} must set one of {', '.join(allowed)}, "
                        f"not {name!r}"
                    )
            replace(self._base(), **changes)  # checks the values

    def _base(self) -> LayerConfig:
        return LayerConfig(
            **{name: getattr(self, name) for name in LayerConfig.__dataclass_fields__}
        )

    def for_inputs(self) -> LayerConfig:
        """The configuration of the network's inputs."""
        base = self._base()
        return base if self.input_bits is None else replace(base, act_bits=self.input_bits)

    def for_layer(self, path: str) -> LayerConfig:
        """The configuration of the layer at ``path``."""
        layer = self._base()
        for pattern, changes in self.overrides.items():
            if fnmatch.fnmatchcase(path, pattern):
                layer = replace(layer, **changes)
        return layer
