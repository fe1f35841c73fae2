"""Where the weights are while they become powers of two."""

import math

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.weighted import WeightedLayer
from nbqnn_train.quant.weights import best_exponent, largest_log2, power_of_two

__all__ = ["WeightHistograms", "bin_centers", "histogram", "staircase"]

#: Moments that are kept of a long training, at most.
_MOMENTS = 60


def staircase(value: Tensor) -> Tensor:
    """Maps weights, in units of their step, so that the levels 0, 1, 2, 4, 8 are at 0, 1, 2, 3, 4.

    The map is odd: linear up to 1 and logarithmic beyond.
    """
    magnitude = value.abs()
    return torch.copysign(torch.where(magnitude < 1, magnitude, 1 + magnitude.log2()), value)


def bin_centers(bits: int) -> list[float]:
    """Positions on the staircase that :func:`histogram` counts at; each level is one of them."""
    per_step = 8 if bits <= 4 else 1
    reach = (largest_log2(bits) + 2) * per_step
    return [number / per_step for number in range(-reach, reach + 1)]


def histogram(layer: WeightedLayer, blend: float) -> list[int]:
    """Counts the weights of a layer, as training computes with them, by the nearest bin center.

    The centers are those of :func:`bin_centers`. Weights beyond the last one count there."""
    with torch.no_grad():
        folded, exponent = layer.folded_weight(), layer.exponent
        if blend == 0:  # training does not choose exponents yet
            exponent = best_exponent(folded, layer.bits, codes=layer.estimator.codes)
        exponent = exponent.reshape(-1, *(1,) * (folded.dim() - 1))
        scaled = folded * power_of_two(-exponent, torch.float64)
        codes = layer.estimator.codes(scaled, torch.zeros_like(exponent), layer.bits)
        weights = layer.estimator.blend(scaled, codes, blend)
        centers = bin_centers(layer.bits)
        width = centers[1] - centers[0]
        number = torch.floor(staircase(weights) / width + 0.5).long() + len(centers) // 2
        counts = torch.bincount(number.clamp(0, len(centers) - 1).flatten(), minlength=len(centers))
    return counts.tolist()


class WeightHistograms(Callback):
    """Histograms of all layers after each epoch, or after some of many epochs.

    moments : for each its ``epoch`` (from 1), its ``lambda`` and the counts by layer. The
        checkpoint holds them, so a resumed training has those from before.
    """

    def __init__(self):
        self.moments: list[dict] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, module) -> None:
        epoch = trainer.current_epoch + 1
        every = math.ceil(trainer.max_epochs / _MOMENTS)
        if not trainer.is_global_zero or (epoch % every and epoch < trainer.max_epochs):
            return
        network: QuantNetwork = module.network
        blend = network.mode.blend
        layers = {
            name: histogram(layer, blend) for name, layer in network.weighted_layers().items()
        }
        self.moments.append({"epoch": epoch, "lambda": blend, "layers": layers})

    def state_dict(self) -> dict:
        return {"moments": self.moments}

    def load_state_dict(self, state: dict) -> None:
        self.moments = state["moments"]
