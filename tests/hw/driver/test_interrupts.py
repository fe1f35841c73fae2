"""The driver believes registers, not the wait."""

import numpy as np
import pytest

from hw.compiler import compile_graph
from hw.driver import AcceleratorError, BusError, Driver, reset_accelerator
from tests.hw.accelerators import VERILATED
from tests.hw.networks import images, small_network, traced_codes
from tests.hw.runs import MemoryBus, offset

CONFIG = VERILATED["shift_64"]
GRAPH = small_network(act_bits=CONFIG.act_bits, weight_bits=CONFIG.weight_bits, scale=False)
PROGRAM = compile_graph(GRAPH, CONFIG)
IMAGES = images(GRAPH, 3)
EXPECTED = traced_codes(GRAPH, IMAGES)


class EarlyBus(MemoryBus):
    """Its wait returns at once as often as it is told to, with what it is told to."""

    def __init__(self, accelerator):
        super().__init__(accelerator, 2_000_000)
        self.early = []

    def wait(self):
        if self.early:
            self.accelerator.run(3, until_interrupt=False)
            return self.early.pop(0)
        return super().wait()


@pytest.fixture
def driver(accelerator_model):
    accelerator = accelerator_model(CONFIG).accelerator
    accelerator.reset()
    with Driver(EarlyBus(accelerator), PROGRAM) as driver:
        yield driver


def check(driver, number):
    for name, codes in driver.run(IMAGES[number]).outputs.items():
        assert np.array_equal(codes[0], EXPECTED[number][name].reshape(codes[0].shape))


@pytest.mark.parametrize("early", [1, 2])
def test_interrupts_of_earlier_runs(driver, early):
    """Are passed over: each image has its own codes."""
    for number in (0, 1, 2):
        driver._bus.early = [True] * early
        check(driver, number)


def test_an_interrupt_that_is_always_there(driver):
    check(driver, 0)
    driver._bus.early = [True] * 100
    with pytest.raises(
        AcceleratorError,
        match=r"^the run ended with an interrupt, but not done \(status 0x1\) at command \d+$",
    ):
        driver.run(IMAGES[1])
    driver._bus.early = []
    check(driver, 2)


def test_a_wait_in_vain(driver):
    """The run that goes on is stopped, and its interrupt is not the next run's."""
    driver._bus.early = [False]
    with pytest.raises(AcceleratorError, match=r"^the run ended with no interrupt in time at comm"):
        driver.run(IMAGES[0])
    check(driver, 1)


def test_an_interrupt_that_is_not_connected(driver, monkeypatch):
    """The run is over when the wait ends in vain; the message says so."""
    wait = driver._bus.wait
    monkeypatch.setattr(driver._bus, "wait", lambda: wait() and False)
    with pytest.raises(
        AcceleratorError,
        match=r"^the run ended with no interrupt in time at command \d+; remedy: a longer "
        r"time_limit_s of the bus, or an interrupt that is connected: by now the run is done$",
    ):
        driver.run(IMAGES[0])
    monkeypatch.undo()
    check(driver, 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BusError("the line is dead")])
def test_a_wait_that_is_ended(driver, monkeypatch, error):
    """By Ctrl-C or by the bus: the run is stopped, and the next one is right."""

    def wait():
        driver._bus.accelerator.run(30, until_interrupt=False)
        raise error

    monkeypatch.setattr(driver._bus, "wait", wait)
    with pytest.raises(type(error)):
        driver.run(IMAGES[0])
    assert driver._bus.accelerator.read(offset("status")) == 0
    monkeypatch.undo()
    check(driver, 1)


def test_the_chip_loses_everything(driver):
    """Its registers, as when the bitstream is loaded again; the program is still in memory."""
    check(driver, 0)
    driver._bus.accelerator.reset()
    check(driver, 1)


@pytest.mark.parametrize("kind", [np.uint32, np.int32])
def test_registers_of_numpy(driver, kind):
    """Signed or not: digests, addresses and counters are what they are."""
    bus = driver._bus
    plain = bus.read
    bus.read = lambda at: np.array(plain(at), np.uint32).astype(kind)[()]
    with Driver(bus, PROGRAM) as second:
        check(second, 0)
    result = driver.run(IMAGES[1])
    assert type(result.cycles) is int
    accelerator = bus.accelerator
    far = accelerator.memory_base + 8
    accelerator.inject_fault(accelerator.memory_base, far)
    with pytest.raises(AcceleratorError, match=r"error READ at command \d+, address 0x\w+$"):
        driver.run(IMAGES[0])
    accelerator.clear_faults()
    check(driver, 2)


def test_busy(driver):
    """A run that someone else began is an error, which leaves it alone."""
    accelerator = driver._bus.accelerator
    accelerator.write(offset("control"), 1)
    for action in (lambda: driver.run(IMAGES[0]), lambda: Driver(driver._bus, PROGRAM)):
        with pytest.raises(AcceleratorError, match=r"^the accelerator must be idle, but is busy"):
            action()
    assert accelerator.read(offset("status")) == 1
    reset_accelerator(driver._bus)
    assert accelerator.read(offset("status")) == 0
    check(driver, 0)


def test_closing_stops_a_run(driver):
    accelerator = driver._bus.accelerator
    accelerator.write(offset("control"), 1)
    driver.close()
    assert accelerator.read(offset("status")) == 0
    assert driver._bus.pages.take(1) == (0, 4096)


def test_a_bus_that_fails_at_the_reset(driver, monkeypatch):
    """Both that the run failed and that the bus did are told."""
    write, driver._bus.early = driver._bus.write, [False]

    def fail(at, value):
        if at == offset("control") and value != 1:
            raise BusError("the line is dead")
        write(at, value)

    monkeypatch.setattr(driver._bus, "write", fail)
    with pytest.raises(AcceleratorError, match=r"in time at command \d+; the line is dead$"):
        driver.run(IMAGES[0])
    monkeypatch.undo()
    driver.reset()
    check(driver, 1)


def test_an_accelerator_that_cannot_be_stopped(driver, monkeypatch):
    """Both that the run failed and that the reset did are told."""
    read = driver._bus.read
    status = {"value": None}
    monkeypatch.setattr(
        driver._bus,
        "read",
        lambda at: read(at) if at != offset("status") or status["value"] is None else 1,
    )

    def wait():
        status["value"] = 1
        return False

    monkeypatch.setattr(driver._bus, "wait", wait)
    with pytest.raises(
        AcceleratorError, match=r"in time at command \d+; the accelerator stays busy after a reset$"
    ):
        driver.run(IMAGES[0])
    status["value"] = None
