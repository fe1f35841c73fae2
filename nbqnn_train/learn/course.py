"""What a training keeps of its course, for pictures of it."""

import numpy as np

from nbqnn_train.learn.histograms import bin_centers
from nbqnn_train.learn.results import LayerCourse, TrainingCourse, packed_shares
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quantization_report import quantization_errors

__all__ = ["training_course"]


def training_course(
    network: QuantNetwork, moments: list[dict], images: np.ndarray
) -> TrainingCourse:
    """The course of a trained network.

    ``moments`` are those of :class:`~nbqnn_train.learn.histograms.WeightHistograms`; errors are
    computed from ``images``, float32 (n, C, H, W).
    """
    weights, activations = quantization_errors(network, [images])
    # A layer's activation is a node of its own in the graph.
    errors = {name.removesuffix(".out"): error for name, error in activations.items()}
    layers = tuple(
        LayerCourse(
            name=name,
            bits=layer.bits,
            positions=tuple(bin_centers(layer.bits)),
            histograms=packed_shares([moment["layers"][name] for moment in moments]),
            weight_error=weights.get(name),
            error=errors.get(name),
        )
        for name, layer in network.weighted_layers().items()
    )
    return TrainingCourse(
        epochs=tuple(moment["epoch"] for moment in moments),
        blends=tuple(float(moment["lambda"]) for moment in moments),
        layers=layers,
        errors=errors,
        images=len(images),
    )
