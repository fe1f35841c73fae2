"""cocotb cases for the copying accelerator between the models of cocotbext-axi."""

import random

import cocotb
import numpy as np
from cocotb.task import bridge

from hw.driver import BusError
from sim.accelerator_bench import CocotbAccelerator
from tests.sim.designs import COPIER_MAP, IDENTITY

OFFSET = {register.name: register.offset for register in COPIER_MAP.registers}
BASE = 0x1000_0000
SIZE = 1 << 16
FAULTY = 0x2000_0000


def copy(accelerator, source, target, beats):
    """What a driver does, unaware of the simulation."""
    accelerator.write(OFFSET["source"], source)
    accelerator.write(OFFSET["target"], target)
    accelerator.write(OFFSET["beats"], beats)
    accelerator.write(OFFSET["status"], 7)
    accelerator.write(OFFSET["start"], 1)
    cycles = accelerator.run(20_000)
    assert accelerator.irq
    return cycles, accelerator.read(OFFSET["status"])


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(stall_rate=[0.0, 0.4])
async def copies(dut, stall_rate):
    accelerator = await CocotbAccelerator.start(
        dut, memory_bytes=SIZE, memory_base=BASE, stall_rate=stall_rate
    )
    accelerator.memory[:] = np.frombuffer(random.randbytes(SIZE), np.uint8)
    expected = accelerator.memory.copy()
    step = len(dut.m_axi_rdata) // 8
    for beats in (1, 16, 333):
        expected[SIZE // 2 :][: beats * step] = expected[3 * step :][: beats * step]
        cycles, status = await bridge(copy)(accelerator, BASE + 3 * step, BASE + SIZE // 2, beats)
        assert status == 1
        assert cycles >= beats
        np.testing.assert_array_equal(accelerator.memory, expected)
    assert await bridge(accelerator.read)(OFFSET["identity"]) == IDENTITY
    assert accelerator.cycles > 350


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def errors(dut):
    """Injected faults and addresses without memory reach the design's status."""
    accelerator = await CocotbAccelerator.start(dut, memory_bytes=SIZE, memory_base=BASE)
    accelerator.inject_fault(FAULTY, FAULTY + 4096)
    for source, target, errors in (
        (FAULTY, BASE, 2),
        (BASE, FAULTY, 4),
        (0, BASE, 2),
        (BASE, BASE + SIZE, 4),
        (BASE, BASE + SIZE // 2, 0),
    ):
        _, status = await bridge(copy)(accelerator, source, target, 20)
        assert status == 1 | errors

    def bad_register():
        try:
            accelerator.read(0x40)
        except BusError as error:
            return str(error)

    assert "0x40 was answered with SLVERR" in await bridge(bad_register)()
