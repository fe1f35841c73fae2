"""The PYNQ bus over a stand-in for PYNQ whose registers and memory are the Verilated accelerator's.

The stand-in's buffers are copies, as a cache is: what is not carried over is not seen. A byte that
was stored and not flushed is dirty, and lands in memory whenever the cache likes.
"""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from hw.compiler import compile_graph
from hw.contract.memory_timing import MemoryTiming
from hw.contract.registers import IDENTITY
from hw.driver import AcceleratorError, BusError, Driver, PynqBus, run_batch
from tests.hw.accelerators import VERILATED
from tests.hw.networks import images, small_network, traced_codes

CONFIG = VERILATED["shift_64"]
GRAPH = small_network(act_bits=CONFIG.act_bits, weight_bits=CONFIG.weight_bits, scale=False)
PROGRAM = compile_graph(GRAPH, CONFIG)
IMAGES = images(GRAPH, 3)
EXPECTED = traced_codes(GRAPH, IMAGES)
PLACE = 0xA000_0000


class CachedBuffer(np.ndarray):
    """An array over a cache of the device's memory; parts of it know where they are."""

    def __array_finalize__(self, whole):
        self.far = getattr(whole, "far", None)
        self.whole = getattr(whole, "whole", None)
        self.dirty = getattr(whole, "dirty", None)
        self.device_address = getattr(whole, "device_address", None)
        self.freed = getattr(whole, "freed", None)

    @property
    def _place(self):
        if self.whole_buffer:
            return slice(0, self.whole.nbytes)
        begin = self.__array_interface__["data"][0] - self.whole.__array_interface__["data"][0]
        return slice(begin, begin + self.nbytes)

    #: Whether all of a buffer is synchronized whichever part is asked, as later versions do.
    whole_buffer = False

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        self.dirty[self._place][key] = True

    def flush(self):
        place = self._place
        self.far[place] = self.whole[place]
        self.dirty[place] = False

    def invalidate(self):
        place = self._place
        self.whole[place] = self.far[place]
        self.dirty[place] = False

    def evict(self):
        """Dirty bytes go to memory."""
        self.far[: len(self.dirty)][self.dirty] = self.whole[self.dirty]
        self.dirty[:] = False

    def freebuffer(self):
        self.freed.append(self.device_address)


class Overlay:
    loaded: list[str] = []  # noqa: RUF012

    def __init__(self, path):
        self.loaded.append(path)
        self.ip_dict = {"accelerator": {"phys_addr": PLACE, "addr_range": 0x1000}, "intc": {}}


@pytest.fixture
def pynq(accelerator_model, monkeypatch):
    """Installs the stand-in; gives the accelerator behind it, reset."""
    model = accelerator_model(CONFIG)
    accelerator = model.accelerator
    accelerator.reset()
    accelerator.clear_faults()
    accelerator.set_timing(MemoryTiming())
    # Time passes with every look at a register, as on the board.
    watched = SimpleNamespace(
        accelerator=accelerator, dead=False, frozen=False, buffers=[], freed=[]
    )

    class Registers:
        def __init__(self, base, length):
            assert (base, length) == (PLACE, 0x1000)

        def read(self, offset):
            if watched.dead:
                return 0xFFFFFFFF
            if not watched.frozen:
                accelerator.run(200, until_interrupt=False)
            if accelerator.irq:
                # The worst time: results are in memory and have not been looked at.
                watched.buffers[-1].evict()
            return accelerator.read(offset)

        def write(self, offset, value):
            accelerator.write(offset, value)

    def allocate(shape, dtype):
        if shape[0] > len(accelerator.memory):
            raise RuntimeError("Failed to allocate memory")
        array = np.full(shape, 0xEE, dtype).view(CachedBuffer)
        array.far, array.whole = accelerator.memory, np.asarray(array)
        array.dirty, array.freed = np.zeros(shape, bool), watched.freed
        array.device_address = accelerator.memory_base
        watched.buffers.append(array)
        return array

    module = ModuleType("pynq")
    module.Overlay, module.MMIO, module.allocate = Overlay, Registers, allocate
    monkeypatch.setitem(sys.modules, "pynq", module)
    return watched


@pytest.mark.parametrize("whole_buffer", [False, True])
def test_a_batch(pynq, tmp_path, monkeypatch, whole_buffer):
    """Loaded from its file; every output code of every image is the interpreter's."""
    monkeypatch.setattr(CachedBuffer, "whole_buffer", whole_buffer)
    path = tmp_path / "nbqnn.xsa"
    path.touch()
    pynq.accelerator.memory[:] = 0xAA
    driver = Driver(PynqBus(path), PROGRAM)
    assert Overlay.loaded[-1] == str(path)
    steps = []
    result = run_batch(driver, IMAGES, lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    for name, codes in result.outputs.items():
        wanted = np.stack([expected[name] for expected in EXPECTED])
        assert np.array_equal(codes, wanted.reshape(codes.shape))
    assert all(run.cycles > 0 for run in result.runs)
    driver.close()
    driver.close()
    assert pynq.freed == [pynq.accelerator.memory_base]
    with pytest.raises(ValueError, match=r"^The driver must be open"):
        driver.run(IMAGES[0])
    with pytest.raises(ValueError, match=r"^Images must be one or more, not none$"):
        run_batch(driver, IMAGES[:0])


def test_errors_and_recovery(pynq):
    """A fault on the bus, then a time-out; after each the same driver goes on."""
    bus = PynqBus(Overlay("loaded before"), time_limit_s=60.0)
    driver = Driver(bus, PROGRAM)
    accelerator = pynq.accelerator
    accelerator.inject_fault(accelerator.memory_base, accelerator.memory_base + 8)
    with pytest.raises(AcceleratorError, match=r"^the run ended with error READ at command"):
        driver.run(IMAGES[0])
    accelerator.clear_faults()
    check(driver, 1)
    pynq.frozen, bus._time_limit_s = True, 0.05
    with pytest.raises(AcceleratorError, match=r"^the run ended with no interrupt in time at"):
        driver.run(IMAGES[0])
    pynq.frozen, bus._time_limit_s = False, 60.0
    check(driver, 2)


def check(driver, number):
    for name, codes in driver.run(IMAGES[number]).outputs.items():
        assert np.array_equal(codes, EXPECTED[number][name].reshape(codes.shape))


def test_waiting_for_an_interrupt(pynq):
    """Whatever waits in place of polling is asked with the bus's limit."""
    limits = []

    class Interrupt:
        def wait(self, time_limit_s):
            limits.append(time_limit_s)
            return bool(pynq.accelerator.run(100_000)) and pynq.accelerator.irq

    driver = Driver(PynqBus(Overlay(""), interrupt=Interrupt(), time_limit_s=7.0), PROGRAM)
    pynq.frozen = True
    check(driver, 0)
    assert limits == [7.0]


def test_what_is_refused(pynq, tmp_path, monkeypatch):
    with pytest.raises(BusError, match=r"^overlay '.*gone\.xsa' must be a file, but is not there$"):
        PynqBus(tmp_path / "gone.xsa")
    message = "^the overlay must have a cell 'other', but has accelerator, intc$"
    with pytest.raises(BusError, match=message):
        PynqBus(Overlay(""), name="other")
    with pytest.raises(BusError, match=r"^\d+ bytes of contiguous memory must be free, but are"):
        PynqBus(Overlay("")).allocate(1 << 40)
    pynq.dead = True
    with pytest.raises(AcceleratorError, match=f"must be {IDENTITY:#x}, not 0xffffffff$"):
        Driver(PynqBus(Overlay("")), PROGRAM)
    monkeypatch.setitem(sys.modules, "pynq", None)
    with pytest.raises(BusError, match=r"^the board.s bus needs pynq, which is not installed"):
        PynqBus(tmp_path)
