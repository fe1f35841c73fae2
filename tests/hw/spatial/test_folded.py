# amaranth: UnusedElaboratable=no
"""Layers whose rows take turns, in Amaranth's simulator."""

import numpy as np
import pytest

from hw.spatial.folded import FoldedLayer, FoldedPlan
from hw.spatial.plan import NetworkPlan
from hw.spatial.rounding import Rounding
from nbqnn_train.graph import Graph
from tests.hw.spatial.maps import Maps
from tests.hw.spatial.test_random_maps import check


def _folded(plan: NetworkPlan) -> list[FoldedPlan]:
    """Plans of all layers whose rows take turns."""
    built = [getattr(part.build, "func", None) for part in plan.parts]
    return [
        part.build.args[0]
        for part, one in zip(plan.parts, built, strict=True)
        if one is FoldedLayer
    ]


def _dense(signed: bool) -> Graph:
    maps = Maps(4, (6, 1, 1), signed=signed)
    return _linears(maps, 17, 9)


def _linears(maps: Maps, *features: int) -> Graph:
    at = "x"
    for count in features:
        at = maps.linear(at, count)
    return maps.graph()


@pytest.mark.parametrize(("interval", "turns"), [(10, [2, 2]), (43, [8, 8]), (170, [32, 16])])
@pytest.mark.parametrize("signed", [False, True])
def test_dense_layers_in_turns(interval, turns, signed):
    plan = check(interval, _dense(signed), interval)
    assert [one.turns for one in _folded(plan)] == turns
    # Layers follow one another without a gap.
    assert plan.cycles_per_image == interval


def test_a_map_whose_layers_take_turns():
    """Padding, a stride behind which there is more time, and a sum with an earlier map."""
    maps = Maps(6, (3, 5, 4))
    a = maps.conv("x", 8, (3, 3), padding=(1, 1, 1, 1))
    b = maps.conv(a, 8, (3, 3), padding=(1, 1, 1, 1))
    c = maps.conv(maps.add(a, b), 8, (3, 3), (2, 2), (1, 1, 1, 1))
    maps.linear(c, 5)
    plan = check(1, maps.graph(), 10)
    assert [one.turns for one in _folded(plan)][:3] == [2, 2, 4]


def test_rows_without_weights_and_roundings_of_many_kinds():
    """Sums against a product of matrices, for a plan that no network has."""
    random = np.random.default_rng(3)
    weight = random.choice([0, 1, -2, 4], (7, 5))
    weight[2] = 0
    plan = FoldedPlan(
        name="own",
        weight=weight,
        constants=tuple(range(7)),
        roundings=tuple(Rounding(row % 3, -8, 7) for row in range(7)),
        bits=4,
        signed=False,
        turns=4,
        out_bits=4,
        levels=2,
        held=False,
    )
    assert sorted(row for rows in plan.lanes for row in rows) == list(range(7))
    bits = random.integers(0, 2, 5)
    for lane, rows in enumerate(plan.lanes):
        for turn, row in enumerate(rows):
            total = 0
            for inputs in plan.groups[lane]:
                at = int(bits[list(inputs)] @ (1 << np.arange(len(inputs))))
                total += plan.sums(lane, inputs)[turn, at]
            negative = weight[row][weight[row] < 0].sum()
            assert total + negative == weight[row] @ bits
