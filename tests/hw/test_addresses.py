"""Where the memory lies: across 64 KiB and 4 GiB, at both ends, and what lies beside it."""

import numpy as np
import pytest

from hw.compiler import compile_graph
from hw.contract.isa import DESCRIPTOR_BYTES, Opcode, Region
from hw.contract.memory_timing import MemoryTiming
from hw.driver import AcceleratorError, memory_bytes
from hw.model.cycles import estimate_cycles
from tests.hw.accelerators import VERILATED
from tests.hw.faults import FaultBench
from tests.hw.networks import images, small_network, traced_codes
from tests.hw.runs import PAGE, compare_groups

#: Addresses whose upper bits change within the program, by the bit that carries.
CARRIES = (16, 20, 31, 32, 33, 40, 63)


def many_commands(config):
    """A program of several pages of commands."""
    graph = small_network(
        act_bits=config.act_bits,
        weight_bits=config.weight_bits,
        scale=config.requant == "scale",
    )
    program = compile_graph(graph, config, batch=4, traced=True)
    assert len(program.commands) > 2 * PAGE
    return program


@pytest.mark.parametrize("name", ["shift_64", "multiply_256"])
def test_programs_across_boundaries(accelerator_model, name):
    """The program lies across each boundary; the address of every fetch carries into it."""
    config = VERILATED[name]
    model = accelerator_model(config)
    program = many_commands(config)
    x = images(program.graph, 4)
    expected = traced_codes(program.graph, x)
    limit = (1 << config.axi_address_width) - len(model.accelerator.memory)
    home = model.accelerator.memory_base
    bases = [(1 << bit) - PAGE for bit in CARRIES if (1 << bit) <= limit]
    try:
        for base in (0, *bases, limit):
            model.accelerator.move_memory(base)
            driver, _ = model.driver(program, timing=MemoryTiming(stall_rate=0.2, seed=base + 1))
            assert driver._memory.bases[Region.PROGRAM] == base
            compare_groups(driver, x, expected)
    finally:
        model.accelerator.move_memory(home)


def test_programs_of_strangers(accelerator_model):
    """Whatever commands say, nothing outside the driver's buffer is read or written.

    Everything in the commands is random but opcodes and sums. The memory around the buffer answers
    like any other, so that only the window keeps the accelerator out.
    """
    config = VERILATED["shift_64"]
    model = accelerator_model(config)
    accelerator = model.accelerator
    bench = FaultBench(model, seed=3)
    rng = np.random.default_rng(7)
    size = memory_bytes(bench.program)
    outside = slice(size, None)
    outcomes = set()
    for _ in range(150):
        accelerator.memory[outside] = content = rng.integers(
            0, 256, len(accelerator.memory) - size, np.uint8
        )
        commands = [
            bench.random_command(int(rng.choice([Opcode.LOAD, Opcode.STORE])))
            for _ in range(int(rng.integers(1, 4)))
        ]
        end = bench.program.commands[-DESCRIPTOR_BYTES:]
        bench.use_commands([*commands, end], 3000)
        # A fault outside would end the run with READ or WRITE.
        first, last = accelerator.memory_base, accelerator.memory_base + size
        accelerator.inject_fault(0, first)
        accelerator.inject_fault(last, 1 << 40)
        try:
            bench.driver.run(bench.images[0])
            outcomes.add("done")
        except AcceleratorError as error:
            outcomes.add(str(error).split(" at ")[0])
        assert np.array_equal(accelerator.memory[outside], content)
    # Those that wait for what never comes end with the driver's patience.
    assert outcomes <= {
        "done",
        "the run ended with error WINDOW",
        "the run ended with no interrupt in time",
    }
    assert "the run ended with error WINDOW" in outcomes


@pytest.mark.parametrize("name", ["shift_64", "multiply_256"])
def test_no_byte_more_than_the_commands_say(accelerator_model, name):
    """Nothing is read behind the program, or twice."""
    config = VERILATED[name]
    model, program = accelerator_model(config), many_commands(config)
    driver, _ = model.driver(program)
    before = model.accelerator.statistics
    driver.run(images(program.graph, 4))
    after = model.accelerator.statistics
    estimate, port_bytes = estimate_cycles(program), config.axi_data_width // 8
    assert (after.read_beats - before.read_beats) * port_bytes == estimate.read_bytes
    assert (after.write_beats - before.write_beats) * port_bytes == estimate.written_bytes
