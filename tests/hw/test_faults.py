"""Faults of every kind at random times: a defined end, a readable cause, and a right next run."""

from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest

from hw.boards.presets import PRESETS
from hw.contract.isa import DESCRIPTOR_BYTES
from hw.driver import AcceleratorError
from tests.hw.accelerators import verilog_of
from tests.hw.faults import KINDS, FaultBench
from tests.hw.runs import Model, verilated
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


def test_an_error_beyond_command_32767():
    """The register of an error's command has 16 bits."""
    config, number = CONFIGS["tiny"], 33_000
    accelerator = verilated(config, verilog_of(config), memory_bytes=1 << 23)
    with closing(accelerator):
        bench = FaultBench(Model(config, accelerator), seed=1)
        short = 2 * DESCRIPTOR_BYTES  # a load of two words
        load = bench.program.commands[short : short + DESCRIPTOR_BYTES]
        bench.use_commands([load] * number + [bytes(DESCRIPTOR_BYTES)], patience=100 * number)
        with pytest.raises(AcceleratorError, match=f"error CHECKSUM at command {number}"):
            bench.driver.run(bench.images[:1])
