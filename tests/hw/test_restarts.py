"""Runs that are stopped at any moment leave nothing behind that the next one meets.

Most registers have no reset: they count only where another one says so. Here every one of them may
hold anything that a run has in it, in accelerators that differ in everything.
"""

import numpy as np
import pytest

from hw.compiler import compile_graph
from hw.contract.memory_timing import MemoryTiming
from hw.driver import AcceleratorError, Driver
from tests.hw.accelerators import VERILATED
from tests.hw.faults import fault_network
from tests.hw.networks import images, small_network, traced_codes
from tests.hw.runs import DisturbedBus, compare
from tests.hw.test_faults import CONFIGS as TINY
from tests.nightly import NIGHTLY

# The least accelerator has no room for these networks.
CONFIGS = TINY | {name: config for name, config in VERILATED.items() if name != "least_32"}
STOPS = 1000 if NIGHTLY else 30
MAX_CYCLES = 1_000_000


def programs(config):
    """Programs of unlike networks, with images and what they give."""
    scale = config.requant == "scale"
    for graph in (
        small_network(act_bits=config.act_bits, weight_bits=config.weight_bits, scale=scale),
        fault_network(config.act_bits, config.weight_bits),
    ):
        x = images(graph, 3)
        yield compile_graph(graph, config), x, traced_codes(graph, x)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_after_one_that_was_stopped(accelerator_model, name):
    """By the driver or by the reset of the whole chip; with another program or the same one."""
    config = CONFIGS[name]
    accelerator = accelerator_model(config).accelerator
    accelerator.clear_faults()
    accelerator.set_timing(MemoryTiming())
    rng = np.random.default_rng(5)
    every = list(programs(config))
    lengths = [
        compare(Driver(DisturbedBus(accelerator, MAX_CYCLES), program), x[0], expected[0]).cycles
        for program, x, expected in every
    ]
    stopped = 0
    for number in range(STOPS):
        accelerator.set_timing(
            MemoryTiming(
                read_latency=int(rng.choice([1, 8, 60])),
                write_latency=int(rng.choice([1, 8, 60])),
                stall_rate=float(rng.choice([0.0, 0.3])),
                seed=number + 1,
            )
        )
        which = int(rng.integers(len(every)))
        program, x, expected = every[which]
        bus = DisturbedBus(accelerator, MAX_CYCLES)
        driver = Driver(bus, program)
        cycle, hard = int(rng.integers(lengths[which])), bool(rng.integers(2))

        def stop(cycle=cycle, hard=hard, driver=driver):
            accelerator.run(cycle, until_interrupt=False)
            if hard:
                accelerator.reset()
            else:
                driver.reset()
            return False

        bus.happening = stop
        try:
            compare(driver, x[0], expected[0])
        except AcceleratorError:
            stopped += 1
        program, x, expected = every[int(rng.integers(len(every)))]
        index = int(rng.integers(len(x)))
        compare(Driver(DisturbedBus(accelerator, MAX_CYCLES), program), x[index], expected[index])
    assert stopped > STOPS * 3 // 4
