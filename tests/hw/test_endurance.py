"""One accelerator for thousands of runs: programs, batches, aborts, faults and bases change."""

import gc
import os
from pathlib import Path

import numpy as np

from hw.compiler import compile_graph
from hw.contract.memory_timing import MemoryTiming
from hw.contract.registers import REGISTERS
from hw.driver import AcceleratorError, Driver
from tests.hw.accelerators import VERILATED
from tests.hw.faults import fault_network
from tests.hw.networks import images, small_network, traced_codes
from tests.hw.runs import PAGE, DisturbedBus, compare_groups
from tests.nightly import NIGHTLY

CONFIG = VERILATED["shift_64"]
RUNS = 10_000 if NIGHTLY else 120
#: Of the process, between the end of the first tenth and the end of all.
MOST_GROWTH = 20 << 20
MOST_CYCLES = 1_000_000


def programs():
    """Programs of several networks and batches, with images and what they give."""
    small = small_network(act_bits=CONFIG.act_bits, weight_bits=CONFIG.weight_bits, scale=False)
    other = fault_network(CONFIG.act_bits, CONFIG.weight_bits)
    for graph, batches in ((small, (1, 3)), (other, (1, 2, 5))):
        x = images(graph, 6)
        expected = traced_codes(graph, x)
        for batch in batches:
            program = compile_graph(graph, CONFIG, batch=batch, traced=batch == 3)
            yield program, x, expected


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_thousands_of_runs(accelerator_model):
    """Every code of every run that nothing was done to; no memory, pages or handles are lost."""
    accelerator = accelerator_model(CONFIG).accelerator
    accelerator.reset()
    accelerator.clear_faults()
    home = accelerator.memory_base
    rng = np.random.default_rng(11)
    every = list(programs())
    bus = DisturbedBus(accelerator, MOST_CYCLES)
    counts = dict.fromkeys(("right", "aborted", "faulty", "late", "program", "base"), 0)
    driver, x, expected = None, None, None
    before = None
    try:
        for number in range(RUNS):
            if number == RUNS // 10:
                gc.collect()
                before = resident_bytes(), handles()
            if driver is None or rng.random() < 0.2:
                if driver is not None:
                    driver.close()
                if rng.random() < 0.5:
                    limit = ((1 << CONFIG.axi_address_width) - len(accelerator.memory)) // PAGE
                    accelerator.move_memory(int(rng.integers(0, limit + 1)) * PAGE)
                    counts["base"] += 1
                program, x, expected = every[int(rng.integers(len(every)))]
                driver = Driver(bus, program)
                counts["program"] += 1
            accelerator.set_timing(
                MemoryTiming(
                    read_latency=int(rng.choice([1, 8, 60])),
                    write_latency=int(rng.choice([1, 8, 60])),
                    stall_rate=float(rng.choice([0.0, 0.3])),
                    seed=number + 1,
                )
            )
            first = int(rng.integers(len(x)))
            some = slice(first, first + int(rng.integers(1, driver.program.batch + 1)))
            what = str(rng.choice(["right", "aborted", "faulty", "late"], p=[0.7, 0.1, 0.1, 0.1]))
            counts[what] += 1
            if what == "right":
                compare_groups(driver, x[some], expected[some])
                continue
            disturb(accelerator, bus, driver, rng, what)
            try:
                compare_groups(driver, x[some], expected[some])
            except AcceleratorError as error:
                assert str(error).startswith("the run ended with"), error
            accelerator.clear_faults()
            assert accelerator.read(REGISTERS.status.offset) in (0, 2)
        driver.close()
    finally:
        accelerator.clear_faults()
        accelerator.set_timing(MemoryTiming())
        accelerator.move_memory(home)
    gc.collect()
    grown = resident_bytes() - before[0], handles() - before[1]
    print(f"{RUNS} runs: {counts}; after the first tenth {grown[0]} bytes, {grown[1]} handles more")
    assert all(counts.values())
    assert bus.pages.take(len(accelerator.memory))[0] == 0
    assert grown[1] == 0
    assert grown[0] < MOST_GROWTH


def disturb(accelerator, bus, driver, rng, what):
    """The next run is aborted at some cycle, meets errors on the bus, or is given up too early."""
    cycle = int(rng.integers(0, 3000))
    if what == "faulty":
        begin = driver._memory.first + int(rng.integers(driver._memory.stripe))
        accelerator.inject_fault(begin, begin + 64, response=int(rng.choice([2, 3])))
        return

    def happening():
        accelerator.run(cycle, until_interrupt=False)
        if what == "aborted":
            driver.reset()
        return False

    bus.happening = happening
