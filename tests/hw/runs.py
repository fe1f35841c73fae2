"""Runs through the real driver, compared with the interpreter layer by layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import MemoryTiming
from hw.contract.program import Program
from hw.contract.registers import REGISTERS
from hw.driver import Buffer, Driver, Pages, RunResult
from hw.rtl.accelerator import TOP
from sim.verilated import VerilatedAccelerator

__all__ = [
    "PAGE",
    "DisturbedBus",
    "MemoryBus",
    "Model",
    "compare",
    "compare_groups",
    "offset",
    "verilated",
]

PAGE = 4096


def offset(register: str) -> int:
    return REGISTERS[register].offset


class MemoryBus:
    """A driver's bus over an accelerator model with ``memory``, ``read``, ``write`` and ``run``."""

    def __init__(self, accelerator, max_cycles: int):
        self.accelerator = accelerator
        self.read = accelerator.read
        self.write = accelerator.write
        self.max_cycles = max_cycles
        self.pages = Pages(len(accelerator.memory), "the model's memory")

    def allocate(self, size: int) -> Buffer:
        begin, end = self.pages.take(size)
        part = self.accelerator.memory[begin:end]
        part[:] = 0
        made = Buffer(part, self.accelerator.memory_base + begin)
        made.free = lambda: self.pages.give_back(begin)
        return made

    def wait(self) -> bool:
        self.accelerator.run(self.max_cycles)
        return self.accelerator.irq


class DisturbedBus(MemoryBus):
    """Something happens once, when the driver waits for the interrupt: it may end the wait."""

    happening: Callable[[], bool] | None = None

    def wait(self) -> bool:
        if self.happening is not None:
            happening, self.happening = self.happening, None
            if not happening():
                return False
        return super().wait()


@dataclass(frozen=True)
class Model:
    """A Verilated accelerator that many programs run on, one after the other."""

    config: AcceleratorConfig
    accelerator: VerilatedAccelerator

    def driver(
        self,
        program: Program,
        *,
        timing: MemoryTiming | None = None,
        max_cycles: int = 2_000_000,
    ) -> tuple[Driver, MemoryBus]:
        """A driver whose bus begins at the start of the memory; all earlier ones are void."""
        self.accelerator.clear_faults()
        self.accelerator.set_timing(timing or MemoryTiming())
        bus = MemoryBus(self.accelerator, max_cycles)
        return Driver(bus, program), bus


def verilated(
    config: AcceleratorConfig, verilog: str, *, memory_bytes: int = 1 << 20, coverage: bool = False
) -> VerilatedAccelerator:
    """The simulator of ``verilog``, which is that of ``config``."""
    return VerilatedAccelerator(
        verilog,
        TOP,
        data_width=config.axi_data_width,
        ports=config.axi_ports,
        memory_bytes=memory_bytes,
        memory_base=0x4000_0000,
        coverage=coverage,
    )


def compare_groups(
    driver: Driver, images: np.ndarray, expected: Sequence[dict[str, np.ndarray]]
) -> list[RunResult]:
    """As :func:`compare`, of a program for batches: as many runs as the images take."""
    batch = driver.program.batch
    results = []
    for begin in range(0, len(images), batch):
        group = images[begin : begin + batch]
        result = driver.run(group)
        assert result.array_cycles + sum(result.stalls.values()) == result.cycles
        for name, codes in {**result.traced, **result.outputs}.items():
            wanted = expected[begin : begin + len(group)]
            for index, (actual, values) in enumerate(zip(codes, wanted, strict=True)):
                assert np.array_equal(actual, values[name].reshape(actual.shape)), (
                    f"{name} of image {begin + index} in batches of {batch}"
                )
        results.append(result)
    return results


def compare(driver: Driver, image: np.ndarray, expected: dict[str, np.ndarray]) -> RunResult:
    """Runs an image; every code of every tensor that comes back equals the interpreter's.

    Every cycle is one of a step or of a stall with its cause.
    """
    result = driver.run(image[None])
    assert result.array_cycles + sum(result.stalls.values()) == result.cycles
    for name, codes in {**result.traced, **result.outputs}.items():
        wanted = expected[name].reshape(codes.shape)
        assert np.array_equal(codes, wanted), (
            f"{name}: {(codes != wanted).sum()} of {codes.size} codes differ, the first at "
            f"{tuple(map(int, np.argwhere(codes != wanted)[0]))}"
        )
    return result
