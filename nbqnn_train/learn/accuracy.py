"""How many images a network or a graph classifies rightly, in exact arithmetic."""

import copy
import math

import numpy as np
import torch
from torch import nn

from nbqnn_train.data import LabelledImages
from nbqnn_train.graph.interpreter import run as run_graph
from nbqnn_train.graph.nodes import Graph

__all__ = ["chance_notes", "count_correct", "count_correct_graph"]

#: More images at a time are slower: float64 maps no longer fit the cache.
_BATCH = 32


def count_correct(
    network: nn.Module, images: LabelledImages, dtype: torch.dtype = torch.float64
) -> int:
    """The number of images that a network classifies rightly.

    A copy of the network computes in ``dtype``: a quantized one is exact in float64.
    """
    network = copy.deepcopy(network).to(dtype).eval()
    correct = 0
    with torch.no_grad():
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            logits = network(torch.from_numpy(images.images(part)).to(dtype))
            correct += int((logits.numpy().argmax(axis=1) == images.labels[part]).sum())
    return correct


def count_correct_graph(graph: Graph, images: LabelledImages) -> int:
    """The number of images that a graph classifies rightly.

    The class is the first of the largest outputs.
    """
    correct = 0
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        codes = np.asarray(run_graph(graph, images.images(part)))
        codes = codes.reshape(codes.shape[:2])  # (N, C, 1, 1) is a vector, too
        correct += int((codes.argmax(axis=1) == images.labels[part]).sum())
    return correct


def chance_notes(correct: int, images: int, classes: int) -> tuple[str, ...]:
    """A note where ``correct`` of ``images`` is within two standard deviations of guessing."""
    share = 1 / max(classes, 1)
    chance = images * share + 2 * math.sqrt(images * share * (1 - share))
    if classes < 2 or correct > chance:
        return ()
    return (
        f"{correct / images:.2%} of the test images are right, which is what guessing one of "
        f"{classes} classes gives: the training diverged or has learned nothing; a smaller "
        "learning rate, or --clip-gradients 5, helps where the loss grew",
    )
