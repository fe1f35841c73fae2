"""What an operation of a quantized network says of itself."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from nbqnn_train.quant.activations import ActivationQuantizer

if TYPE_CHECKING:
    import nbqnn_train.quant.network
    from nbqnn_train.export import Exporter

__all__ = ["Operator"]


class Operator(nn.Module):
    """Base of operations; see :mod:`nbqnn_train.quant.ops` for how they are called.

    Attributes
    ----------
    out : the quantizer of the result; there is none where the format of the (first) input is kept.
    """

    out: ActivationQuantizer

    def real(self, *values: Tensor) -> Tensor:
        """The result without any quantization, in the type of the inputs."""
        raise NotImplementedError

    def export(self, exporter: "Exporter", step: "nbqnn_train.quant.network.Step") -> str:
        """Appends nodes to the graph; the name of the one that holds the result."""
        raise NotImplementedError

    def negative(self, signed: list[bool]) -> bool:
        """Whether results can be below zero, from whether each input can."""
        return self.out.limits[0] < 0 and any(signed)
