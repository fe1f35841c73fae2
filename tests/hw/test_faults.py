"""Faults of every kind at random times: a defined end, a readable cause, and a right next run."""

from collections import Counter
from dataclasses import replace

import pytest

from hw.boards.presets import PRESETS
from tests.hw.faults import KINDS, FaultBench
from tests.nightly import NIGHTLY

CONFIGS = {
    config.name: config
    for config in (
        PRESETS["tiny"],
        replace(PRESETS["tiny"], name="tiny_2x32", axi_ports=2),
    )
}
#: Of each kind in each configuration: 440 injections in all, and nightly 5,500.
COUNT = 250 if NIGHTLY else 20
#: What must have come of some of them.
OUTCOMES = {
    "error_response": {"READ", "WRITE"},
    "error_responses_for_a_while": {"READ"},
    "flipped_bits": {"CHECKSUM"},
    "unknown_opcode": {"OPCODE"},
    "truncated": {"LENGTH", "CHECKSUM"},
    "start_while_busy": {"BUSY"},
    "reset": {"reset"},
    "outside_the_window": {"WINDOW"},
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", KINDS)
def test_injections(accelerator_model, kind, name):
    seed = 100 * list(CONFIGS).index(name) + list(KINDS).index(kind)
    bench = FaultBench(accelerator_model(CONFIGS[name]), seed)
    outcomes = Counter(bench.inject(kind) for _ in range(COUNT))
    assert OUTCOMES.get(kind, set()) <= outcomes.keys(), outcomes
