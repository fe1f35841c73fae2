"""Rounding that makes up for errors: beside every choice there is, and beside nearest levels."""

from itertools import product

import pytest
import torch

from nbqnn_train.quant.rounding import round_weights
from nbqnn_train.quant.weights import best_exponent, weight_codes


def moments(groups, columns, samples, seed, dependent=0.9):
    """Of inputs that have much in common, (G, K, K)."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(groups, samples, 1, dtype=torch.float64, generator=generator)
    own = torch.randn(groups, samples, columns, dtype=torch.float64, generator=generator)
    inputs = dependent * common + (1 - dependent) * own
    return inputs.mT @ inputs / samples


def weights(groups, rows, columns, seed):
    generator = torch.Generator().manual_seed(100 + seed)
    return torch.randn(groups, rows, columns, dtype=torch.float64, generator=generator)


def levels(codes, exponent):
    return codes * 2.0 ** exponent[..., None].double()


def error(difference, moment):
    return torch.einsum("grk,gkl,grl->gr", difference, moment, difference)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("columns", [1, 2, 3])
def test_beside_every_choice(columns, seed):
    """With three inputs the error is within a tenth of the least of all codes and exponents."""
    weight, moment = weights(1, 4, columns, seed), moments(1, columns, 50, seed, dependent=0.5)
    codes, exponent = round_weights(weight, moment, 3, codes=weight_codes)
    allowed = torch.tensor([0.0, 1, 2, 4, -1, -2, -4], dtype=torch.float64)
    every = torch.tensor(list(product(allowed, repeat=columns)), dtype=torch.float64)
    found = error(levels(codes, exponent) - weight, moment)
    for row in range(4):
        least = min(
            float(error((2.0**e * every - weight[0, row])[None], moment).min())
            for e in range(-6, 3)
        )
        norm = float(error(weight, moment)[0, row])
        assert float(found[0, row]) <= 1.1 * least + 0.02 * norm


@pytest.mark.parametrize("bits", range(2, 7))
@pytest.mark.parametrize("seed", range(4))
def test_never_worse_than_nearest_levels(bits, seed):
    weight, moment = weights(2, 6, 20, seed), moments(2, 20, 100, seed)
    codes, exponent = round_weights(weight, moment, bits, codes=weight_codes)
    rows = weight.flatten(0, 1)
    nearest_exponent = best_exponent(rows, bits)
    nearest = levels(weight_codes(rows, nearest_exponent[:, None], bits), nearest_exponent)
    before = error(nearest.reshape(weight.shape) - weight, moment)
    found = error(levels(codes, exponent) - weight, moment)
    assert bool((found <= before).all())
    assert float(found.sum()) < 0.5 * float(before.sum())


@pytest.mark.parametrize("bits", range(2, 7))
def test_codes_are_zero_or_powers_of_two_of_the_width(bits):
    weight, moment = weights(1, 5, 70, 0), moments(1, 70, 50, 0)  # more inputs than samples
    codes, exponent = round_weights(weight, moment, bits, codes=weight_codes)
    allowed = {0} | {1 << k for k in range((1 << (bits - 1)) - 1)}
    assert set(codes.abs().long().flatten().tolist()) <= allowed
    assert codes.shape == weight.shape
    assert exponent.shape == weight.shape[:2]


def test_independent_inputs_of_equal_size_take_the_nearest_levels():
    weight = weights(1, 6, 30, 1)
    codes, exponent = round_weights(weight, torch.eye(30)[None].double(), 3, codes=weight_codes)
    assert torch.equal(exponent[0], best_exponent(weight[0], 3))
    assert torch.equal(codes[0], weight_codes(weight[0], exponent[0][:, None], 3))


def test_groups_are_apart():
    weight, moment = weights(3, 4, 10, 2), moments(3, 10, 40, 2)
    codes, exponent = round_weights(weight, moment, 3, codes=weight_codes)
    for group in range(3):
        part = slice(group, group + 1)
        alone = round_weights(weight[part], moment[part], 3, codes=weight_codes)
        assert torch.equal(codes[part], alone[0])
        assert torch.equal(exponent[part], alone[1])


def test_one_exponent_for_all_channels():
    weight, moment = weights(2, 4, 10, 3), moments(2, 10, 40, 3)
    _, exponent = round_weights(weight, moment, 3, codes=weight_codes, per_tensor=True)
    assert len(exponent.unique()) == 1


@pytest.mark.parametrize("what", ["inputs", "weights"])
def test_zeros(what):
    """Inputs that are always zero, and channels of zeros, are no trouble."""
    weight, moment = weights(1, 3, 5, 4), moments(1, 5, 20, 4)
    if what == "inputs":
        moment = torch.zeros_like(moment)
    else:
        weight = torch.zeros_like(weight)
    codes, exponent = round_weights(weight, moment, 3, codes=weight_codes)
    if what == "inputs":
        assert torch.equal(codes[0], weight_codes(weight[0], exponent[0][:, None], 3))
    else:
        assert not codes.any()
