"""A task like jet tagging, made here: 16 features, five classes that overlap."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from nbqnn_train.convert import QuantConfig, convert
from nbqnn_train.export import export_graph
from nbqnn_train.graph import Graph, run
from nbqnn_train.quantized_training import QuantizedTraining, parameter_groups

__all__ = ["accuracy", "features", "trained"]

_CLASSES = 5
#: Each class is a mixture of so many clouds.
_CLOUDS = 3


def features(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` samples (N, 16), float32, and their classes (N,)."""
    made, random = np.random.default_rng(0), np.random.default_rng(seed)
    centres = made.normal(0, 1.1, (_CLASSES, _CLOUDS, 16))
    mixing = made.normal(0, 0.4, (_CLASSES, _CLOUDS, 16, 16)) + 0.6 * np.eye(16)
    classes, clouds = random.integers(0, _CLASSES, count), random.integers(0, _CLOUDS, count)
    noise = random.normal(0, 1, (count, 16, 1))
    x = centres[classes, clouds] + (mixing[classes, clouds] @ noise)[..., 0]
    return x.astype(np.float32), classes


def _module(sizes: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-2])


def _batches(x: np.ndarray, classes: np.ndarray, epochs: int, size: int = 128):
    x, classes = torch.from_numpy(x), torch.from_numpy(classes)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(size):
            yield x[rows], classes[rows]


def trained(sizes: tuple[int, ...], epochs: int, samples: int = 8000) -> tuple[nn.Module, Graph]:
    """A network in float, and the graph of one with 3-bit weights that began with it.

    Both train for so many epochs.
    """
    torch.manual_seed(0)
    module = _module(sizes)
    x, classes = features(samples, 1)
    loss = nn.CrossEntropyLoss()
    steps = list(_batches(x, classes, epochs))
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=len(steps))
    for inputs, labels in steps:
        optimizer.zero_grad()
        loss(module(inputs), labels).backward()
        optimizer.step()
        rates.step()
    network = convert(module, QuantConfig(weight_bits=3, act_bits=8), torch.zeros(1, 16)).train()
    optimizer = torch.optim.Adam(parameter_groups(network, weight_decay=0), lr=3e-3)
    batches = list(_batches(x, classes, epochs))
    training = QuantizedTraining(network, optimizer, steps=len(batches), batches=batches)
    for inputs, labels in batches:
        optimizer.zero_grad()
        loss(network(inputs), labels).backward()
        training.step()
    return module.eval(), export_graph(network.eval(), input_shape=(16,))


def accuracy(model: nn.Module | Graph, x: np.ndarray, classes: np.ndarray) -> float:
    """Share of the samples whose class has the largest output."""
    if isinstance(model, Graph):
        outputs = run(model, x)
    else:
        with torch.no_grad():
            outputs = model(torch.from_numpy(x)).numpy()
    return float((outputs.argmax(axis=1) == classes).mean())
