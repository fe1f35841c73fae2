"""Small networks of many kinds are read, converted, calibrated and exported, to the bit."""

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

from nbqnn_train.convert import QuantConfig, calibrate, convert
from tests.train.exactness import assert_exact
from tests.train.networks.families import FAMILIES
from tests.train.networks.forms import FORMS
from tests.train.networks.operators import OPERATORS


def test_there_are_many():
    assert len(FAMILIES) >= 60
    assert FORMS
    assert OPERATORS


@pytest.mark.parametrize("name", FAMILIES)
def test_exact(name):
    build, shape = FAMILIES[name]
    torch.manual_seed(0)
    module = build()
    images = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    x = torch.from_numpy(images)
    mode = "scale" if len(name) % 2 else "shift"
    network = convert(module, QuantConfig(weight_bits=4, requant_mode=mode), x[:1])
    x = x.to(next(network.parameters()).dtype)
    calibrate(network, [x])
    results = pytree.tree_leaves(network.train()(x))
    sum(result.square().mean() for result in results).backward()
    assert all(layer.weight.grad is not None for layer in network.weighted_layers().values())
    assert_exact(network, images)
