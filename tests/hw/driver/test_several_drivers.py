"""Several drivers on one accelerator, one after the other and in threads."""

import gc
import threading
import time

import numpy as np
import pytest

from hw.compiler import compile_graph
from hw.driver import AcceleratorError, BusError, Driver
from hw.driver.driver import _LOCKS
from tests.hw.accelerators import VERILATED
from tests.hw.networks import images, small_network, traced_codes
from tests.hw.runs import MemoryBus, offset

CONFIG = VERILATED["shift_64"]
GRAPHS = [
    small_network(act_bits=8, weight_bits=CONFIG.weight_bits, scale=False),
    small_network(act_bits=CONFIG.act_bits, weight_bits=2, scale=False),
]
PROGRAMS = [compile_graph(graph, CONFIG) for graph in GRAPHS]
IMAGES = [images(graph, 4) for graph in GRAPHS]
EXPECTED = [traced_codes(graph, given) for graph, given in zip(GRAPHS, IMAGES, strict=True)]


@pytest.fixture
def bus(accelerator_model):
    accelerator = accelerator_model(CONFIG).accelerator
    accelerator.reset()
    return MemoryBus(accelerator, 2_000_000)


def right(driver, network, number):
    outputs = driver.run(IMAGES[network][number]).outputs
    return all(
        np.array_equal(codes[0], EXPECTED[network][number][name].reshape(codes[0].shape))
        for name, codes in outputs.items()
    )


def test_by_turns(bus):
    """Each runs its own program, whichever was made or ran last."""
    with Driver(bus, PROGRAMS[0]) as first, Driver(bus, PROGRAMS[1]) as second:
        drivers = first, second
        for number, network in enumerate((0, 1, 1, 0)):
            assert right(drivers[network], network, number)
    # What one that came and went told the accelerator is not taken for the program's.
    with Driver(bus, PROGRAMS[0]) as first:
        with Driver(bus, PROGRAMS[1]) as second:
            assert right(second, 1, 0)
        assert right(first, 0, 1)


def test_one_that_fails_to_begin(bus, monkeypatch):
    """While it tells the accelerator where its program is: the other one tells it again."""
    with Driver(bus, PROGRAMS[0]) as first:
        names = ("window_first_low", "program_base_low", "window_last_low", "program_length")
        for fails in map(offset, names):

            def write(at, value, fails=fails):
                if at == fails:
                    raise BusError("the bus is dead")
                bus.accelerator.write(at, value)

            monkeypatch.setattr(bus, "write", write)
            with pytest.raises(BusError, match=r"^the bus is dead$"):
                Driver(bus, PROGRAMS[1])
            monkeypatch.undo()
            bus.write = bus.accelerator.write
            assert right(first, 0, 2)


def test_in_threads(bus):
    """Two threads share a driver, a third has its own: runs are one after the other."""
    wait = bus.wait
    bus.wait = lambda: time.sleep(0.001) or wait()
    shared, own = Driver(bus, PROGRAMS[0]), Driver(bus, PROGRAMS[1])
    found = []

    def work(driver, network, begin):
        for number in range(8):
            try:
                found.append(right(driver, network, (begin + number) % 4))
            except AcceleratorError as error:
                found.append(error)

    jobs = (shared, 0, 0), (shared, 0, 2), (own, 1, 1)
    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 24
    del bus.wait
    assert id(bus) in _LOCKS
    del shared, own, work, jobs, threads, thread
    gc.collect()
    assert id(bus) not in _LOCKS


def test_another_accelerator_in_its_place(bus, monkeypatch):
    """A bitstream of another configuration, loaded while the driver was open."""
    with Driver(bus, PROGRAMS[0]) as driver:
        assert right(driver, 0, 0)
        read = bus.read
        monkeypatch.setattr(bus, "read", lambda at: 7 if at == offset("digest") else read(at))
        with pytest.raises(AcceleratorError, match=r"the accelerator has 0x00000007$"):
            driver.run(IMAGES[0][1])
        monkeypatch.undo()
        bus.read = read
        assert right(driver, 0, 1)
