"""cocotb cases for the accelerator: the driver runs networks over models no one here wrote."""

import cocotb
import pytest
from cocotb.task import bridge

from hw.compiler import compile_graph
from hw.driver import AcceleratorError, Driver, memory_bytes
from sim.accelerator_bench import CocotbAccelerator
from sim.runner import parameters
from tests.hw.accelerators import BENCHED
from tests.hw.networks import images, small_network, traced_codes
from tests.hw.runs import PAGE, MemoryBus, compare, offset

CONFIG = BENCHED[parameters()["config"]]
GRAPH = small_network(
    act_bits=CONFIG.act_bits, weight_bits=CONFIG.weight_bits, scale=CONFIG.requant == "scale"
)
IMAGES = images(GRAPH, 3)
EXPECTED = traced_codes(GRAPH, IMAGES)
MAX_CYCLES = 60_000
BASE = 0x1000_0000
FAULTY = 0x2000_0000


async def begin(dut, program, stall_rate):
    return await CocotbAccelerator.start(
        dut, memory_bytes=memory_bytes(program), memory_base=BASE, stall_rate=stall_rate
    )


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(stall_rate_traced=[(0.0, False), (0.4, True)])
async def every_code(dut, stall_rate_traced):
    """Equals the interpreter's, image after image, whatever the latencies and backpressure."""
    stall_rate, traced = stall_rate_traced
    program = compile_graph(GRAPH, CONFIG, traced=traced)
    accelerator = await begin(dut, program, stall_rate)

    def drive():
        driver = Driver(MemoryBus(accelerator, MAX_CYCLES), program)
        return [
            compare(driver, image, expected)
            for image, expected in zip(IMAGES[traced:], EXPECTED[traced:], strict=True)
        ]

    results = await bridge(drive)()
    for result in results:
        assert 0 < result.array_cycles <= result.compute_cycles < result.cycles
        assert 0 < result.load_cycles < result.cycles
        assert 0 < result.store_cycles < result.cycles
        assert sum(result.layer_cycles) <= result.cycles
        assert min(result.layer_cycles) > 0


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(
    region_cause=[
        ("program", "READ"),
        ("parameters", "READ"),
        ("input", "READ"),
        ("output", "WRITE"),
    ]
)
async def error_responses(dut, region_cause):
    """End the run with their cause; the next one is right."""
    region, cause = region_cause
    program = compile_graph(GRAPH, CONFIG)
    accelerator = await begin(dut, program, 0.2)
    accelerator.inject_fault(FAULTY, FAULTY + 16 * PAGE)

    def drive():
        driver = Driver(MemoryBus(accelerator, MAX_CYCLES), program)
        base = offset(f"{region}_base_low")
        good = accelerator.read(base)
        accelerator.write(base, FAULTY)
        # The fault is to come from the bus.
        accelerator.write(offset("window_last_low"), 0xFFFFFFFF)
        with pytest.raises(AcceleratorError, match=f"error {cause} at command"):
            driver.run(IMAGES[0])
        assert accelerator.read(offset("status")) == 0
        accelerator.write(base, good)
        compare(driver, IMAGES[0], EXPECTED[0])

    await bridge(drive)()
