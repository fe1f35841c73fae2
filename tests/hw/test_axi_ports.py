"""Accelerators with several AXI ports: the same codes, faults on any port, addresses by stripe."""

from dataclasses import replace

import numpy as np
import pytest

from hw.boards.presets import PRESETS
from hw.compiler import compile_graph
from hw.contract.memory_timing import MemoryTiming
from hw.driver import AcceleratorError
from tests.hw.accelerators import VERILATED
from tests.hw.networks import gated_network, images, small_network, traced_codes
from tests.hw.runs import compare, offset
from tests.nightly import NIGHTLY

#: Beats as wide as a word, and wider, up to a descriptor (nightly).
CONFIGS = {
    config.name: config
    for config in (
        replace(PRESETS["tiny"], name="tiny_2x32", axi_ports=2),
        replace(VERILATED["shift_64"], name="shift_4x64", axi_ports=4),
        replace(PRESETS["tiny"], name="tiny_2x512", axi_ports=2, axi_data_width=512),
    )
}


def network(config):
    graph = small_network(act_bits=config.act_bits, weight_bits=config.weight_bits, scale=False)
    x = images(graph, 2)
    return compile_graph(graph, config, traced=True), x, traced_codes(graph, x)


@pytest.mark.parametrize("name", [name for name in CONFIGS if NIGHTLY or name != "tiny_2x512"])
def test_every_code(accelerator_model, name):
    """Equals the interpreter's, whatever the ports' latencies and stalls, and every port works."""
    program, x, expected = network(CONFIGS[name])
    model = accelerator_model(CONFIGS[name])
    for number, timing in enumerate(
        (
            MemoryTiming(),
            MemoryTiming(read_latency=1, write_latency=1, outstanding=1),
            MemoryTiming(stall_rate=0.5, seed=3),
            MemoryTiming(read_latency=90, stall_rate=0.2, bytes_per_cycle=3.5, seed=4),
        )
    ):
        driver, _ = model.driver(program, timing=timing)
        compare(driver, x[number % 2], expected[number % 2])


def test_tables_over_four_ports(accelerator_model):
    config = CONFIGS["shift_4x64"]
    graph = gated_network(act_bits=8, weight_bits=3, scale=False, tables=True, seed=1)
    program, x = compile_graph(graph, config, traced=True), images(graph, 2)
    timing = MemoryTiming(stall_rate=0.3, seed=2)
    driver, _ = accelerator_model(config).driver(program, timing=timing)
    for image, expected in zip(x, traced_codes(graph, x), strict=True):
        compare(driver, image, expected)


@pytest.mark.parametrize("name", ["tiny_2x32", "shift_4x64"])
def test_faults_on_any_port(accelerator_model, name):
    """End the run with their address; the next run is right."""
    config = CONFIGS[name]
    program, x, expected = network(config)
    model = accelerator_model(config)
    driver, _ = model.driver(program, timing=MemoryTiming(stall_rate=0.3, seed=5))
    accelerator = model.accelerator
    stripe = accelerator.read(offset("stripe_low"))
    for region, place, cause in (("program", 32, "READ"), ("input", 16, "READ"),
                                 ("output", 0, "WRITE")):  # fmt: skip
        for port in range(config.axi_ports):
            begin = accelerator.read(offset(f"{region}_base_low")) + port * stripe
            accelerator.inject_fault(begin + place, begin + place + 1)
            with pytest.raises(AcceleratorError, match=f"error {cause} at command") as error:
                driver.run(x[0])
            # The burst's, of 16 beats at most.
            address = int(str(error.value).rsplit(" ", 1)[1], 16)
            assert begin <= address <= begin + place < address + 2 * config.axi_data_width
            accelerator.clear_faults()
            compare(driver, x[1], expected[1])


def test_more_ports_are_faster(accelerator_model):
    """A memory that is fast enough carries a beat of every port in every cycle."""
    cycles = []
    for config in (PRESETS["tiny"], CONFIGS["tiny_2x32"]):
        program, x, expected = network(config)
        driver, _ = accelerator_model(config).driver(program)
        cycles.append(compare(driver, x[0], expected[0]).load_cycles)
    assert cycles[1] < 0.8 * cycles[0]


def test_the_shape_is_readable(accelerator_model):
    accelerator = accelerator_model(CONFIGS["shift_4x64"]).accelerator
    assert accelerator.read(offset("axi_shape")) == 4 | 64 << 8


def test_ports_split_beats(accelerator_model):
    """An independent look at the memory: byte b of the input lies at its port's offset."""
    config = CONFIGS["shift_4x64"]
    program, x, expected = network(config)
    model = accelerator_model(config)
    driver, _ = model.driver(program)
    compare(driver, x[0], expected[0])
    accelerator = model.accelerator
    start = accelerator.read(offset("input_base_low")) - accelerator.memory_base
    stripe = accelerator.read(offset("stripe_low"))
    packed = program.inputs[0].layout.pack(config, expected[0]["image"])
    for index, value in enumerate(np.asarray(packed)):
        beat, within = divmod(index, 32)
        port, byte = divmod(within, 8)
        assert accelerator.memory[start + port * stripe + 8 * beat + byte] == value
