"""hw.driver on the RTL: errors, resets and refusals; after each of them the next run is right."""

from dataclasses import replace

import numpy as np
import pytest

from hw.compiler import compile_graph
from hw.contract.causes import ErrorCause
from hw.contract.isa import (
    DESCRIPTOR_BYTES,
    Command,
    Compute,
    Load,
    Opcode,
    Region,
    pack,
    read_commands,
)
from hw.contract.memory_timing import MemoryTiming
from hw.contract.registers import IDENTITY, REGISTERS
from hw.driver import AcceleratorError, Buffer, Driver, run_batch
from nbqnn_train.graph import NbqnnError, run
from tests.hw.accelerators import VERILATED
from tests.hw.networks import images, small_network, traced_codes
from tests.hw.runs import PAGE, compare, offset

CONFIG = VERILATED["shift_64"]
GRAPH = small_network(act_bits=CONFIG.act_bits, weight_bits=CONFIG.weight_bits, scale=False)
PROGRAM = compile_graph(GRAPH, CONFIG, traced=True)
IMAGES = images(GRAPH, 2)
EXPECTED = traced_codes(GRAPH, IMAGES)
START, RESET = 1, 2
BUSY, DONE, ERROR = 1, 2, 4
DESCRIPTORS = [
    PROGRAM.commands[at : at + DESCRIPTOR_BYTES]
    for at in range(0, len(PROGRAM.commands), DESCRIPTOR_BYTES)
]


@pytest.fixture
def model(accelerator_model):
    model = accelerator_model(CONFIG)
    model.accelerator.reset()
    return model


def with_commands(commands):
    return replace(PROGRAM, commands=b"".join(commands))


def check_next(model, timing=None):
    """The accelerator as it is now runs the whole program rightly."""
    driver, _ = model.driver(PROGRAM, timing=timing)
    compare(driver, IMAGES[1], EXPECTED[1])
    assert model.accelerator.read(offset("status")) == DONE


@pytest.mark.parametrize("response", [2, 3])
@pytest.mark.parametrize(
    ("region", "cause", "places"),
    [
        (Region.PROGRAM, "READ", (0, 128, 1000)),
        (Region.PARAMETERS, "READ", (0, 128, 1000)),
        (Region.INPUT, "READ", (0, 128, 440)),
        # The second tensor of the region begins at its second page.
        (Region.OUTPUT, "WRITE", (0, 8, PAGE + 64)),
        (Region.SCRATCH, "WRITE", (0, 64, PAGE)),
    ],
)
@pytest.mark.parametrize("stall_rate", [0.0, 0.5])
def test_error_responses(model, region, cause, places, response, stall_rate):
    """At the first byte of a region and in the middle of it."""
    timing = MemoryTiming(stall_rate=stall_rate, seed=region + 1)
    driver, _ = model.driver(PROGRAM, timing=timing)
    begin = model.accelerator.read(offset(f"{region.name.lower()}_base_low"))
    for place in places:
        model.accelerator.inject_fault(begin + place, begin + place + 8, response=response)
        with pytest.raises(AcceleratorError, match=f"^the run ended with error {cause} at comm"):
            driver.run(IMAGES[0])
        assert model.accelerator.read(offset("status")) == 0
        model.accelerator.clear_faults()
        # The same driver goes on, without loading anything again.
        compare(driver, IMAGES[1], EXPECTED[1])
    check_next(model)


def test_outside_the_window(model):
    """Addresses that are the driver's mistake never get onto the bus."""
    driver, _ = model.driver(PROGRAM)
    model.accelerator.write(offset("input_base_low"), 0x1000)
    with pytest.raises(
        AcceleratorError, match=r"^the run ended with error WINDOW at command \d+, address 0x1000$"
    ):
        driver.run(IMAGES[0])
    check_next(model)


@pytest.mark.parametrize("number", [0, 1, len(DESCRIPTORS) // 2, len(DESCRIPTORS) - 1])
def test_corrupted_descriptors(model, number):
    """A flipped bit anywhere in a descriptor is found before the descriptor is used."""
    rng = np.random.default_rng(number)
    for bit in (0, 7, 40, 300, 991, 992, 1023, *rng.integers(0, 1024, 8)):
        damaged = bytearray(DESCRIPTORS[number])
        damaged[bit // 8] ^= 1 << bit % 8
        commands = [*DESCRIPTORS[:number], bytes(damaged), *DESCRIPTORS[number + 1 :]]
        driver, _ = model.driver(with_commands(commands), timing=MemoryTiming(stall_rate=0.2))
        with pytest.raises(
            AcceleratorError, match=f"^the run ended with error CHECKSUM at command {number}$"
        ):
            driver.run(IMAGES[0])
    check_next(model)


def test_empty_memory_is_no_program(model):
    driver, _ = model.driver(with_commands([bytes(DESCRIPTOR_BYTES)]))
    with pytest.raises(AcceleratorError, match="error CHECKSUM at command 0"):
        driver.run(IMAGES[0])
    check_next(model)


@pytest.mark.parametrize("opcode", [0, 5, 255])
def test_unknown_opcode(model, opcode):
    unknown = Load()
    unknown.opcode = Opcode.LOAD
    fields = bytearray(pack(unknown))
    fields[0] = opcode
    # The sum stays the same: what the opcode gained the last word loses.
    last = int.from_bytes(fields[-4:], "little") + Opcode.LOAD - opcode
    fields[-4:] = (last % (1 << 32)).to_bytes(4, "little")
    for number in (0, 3):
        commands = [*DESCRIPTORS[:number], bytes(fields), *DESCRIPTORS[number:]]
        driver, _ = model.driver(with_commands(commands))
        with pytest.raises(AcceleratorError, match=f"error OPCODE at command {number}$"):
            driver.run(IMAGES[0])
        check_next(model)


@pytest.mark.parametrize("count", [1, 2, 3, len(DESCRIPTORS) // 2, len(DESCRIPTORS) - 1])
def test_truncated_program(model, count):
    """Without its END: refused when its last descriptor has been handed on."""
    driver, _ = model.driver(with_commands(DESCRIPTORS[:count]))
    with pytest.raises(AcceleratorError, match=f"error LENGTH at command {count}$"):
        driver.run(IMAGES[0])
    check_next(model)


@pytest.mark.parametrize("read_latency", [1, 30, 3000])
def test_end_first(model, read_latency):
    """The shortest program is done at once; what was fetched beyond its END is not looked at."""
    for more in range(4):
        commands = [pack(Command()), *[bytes(DESCRIPTOR_BYTES)] * more]
        program = replace(with_commands(commands), layers=())
        driver, _ = model.driver(program, timing=MemoryTiming(read_latency=read_latency))
        for _ in range(3):
            assert driver.run(IMAGES[0]).cycles < 200 + 3 * read_latency
        check_next(model)


def test_a_program_that_never_ends(model):
    """A wait for what never happens: no interrupt in time, and the reset frees the accelerator."""
    waiting = Load(wait_compute=1, region=Region.INPUT, words=1, rows=1, beats=1)
    driver, _ = model.driver(with_commands([pack(waiting), DESCRIPTORS[-1]]), max_cycles=5000)
    with pytest.raises(AcceleratorError, match=r"^the run ended with no interrupt in time at"):
        driver.run(IMAGES[0])
    assert model.accelerator.read(offset("status")) == 0
    check_next(model)


def start(model, driver):
    """Starts a run as the driver does, without waiting for its end."""
    accelerator = model.accelerator
    layout = PROGRAM.inputs[0].layout
    packed = layout.pack(CONFIG, EXPECTED[0]["image"])
    base = accelerator.read(offset("input_base_low")) - accelerator.memory_base
    accelerator.memory[base : base + len(packed)] = packed
    accelerator.write(offset("irq_status"), 3)
    accelerator.write(offset("control"), START)


def test_start_while_busy(model):
    """Is reported, and the run goes on undisturbed."""
    driver, bus = model.driver(PROGRAM)
    start(model, driver)
    accelerator = model.accelerator
    accelerator.run(200, until_interrupt=False)
    assert accelerator.read(offset("status")) == BUSY
    accelerator.write(offset("control"), START)
    accelerator.run(10, until_interrupt=False)
    assert accelerator.irq
    assert accelerator.read(offset("irq_status")) == ERROR >> 1
    assert accelerator.read(offset("error_cause")) == ErrorCause.BUSY
    accelerator.write(offset("irq_status"), 3)
    accelerator.run(3, until_interrupt=False)
    assert bus.wait()
    assert accelerator.read(offset("status")) == DONE
    for port in PROGRAM.outputs:
        begin = accelerator.read(offset("output_base_low")) - accelerator.memory_base + port.offset
        written = accelerator.memory[begin : begin + port.layout.host_bytes(CONFIG)]
        codes = port.layout.unpack(CONFIG, written)
        assert np.array_equal(codes, EXPECTED[0][port.name].reshape(codes.shape))
    check_next(model)


def test_resets_in_the_middle(model):
    """At many cycles of a run, under a slow memory: idle again, and the next run is right."""
    driver, _ = model.driver(PROGRAM)
    whole = driver.run(IMAGES[0]).cycles
    rng = np.random.default_rng(3)
    for number, cycle in enumerate([0, 1, 2, 3, 5, 8, *sorted(rng.integers(9, whole, 60))]):
        timing = MemoryTiming(
            read_latency=int(rng.integers(1, 200)),
            write_latency=int(rng.integers(1, 200)),
            stall_rate=float(rng.choice([0.0, 0.3, 0.7])),
            seed=number + 1,
        )
        driver, _ = model.driver(PROGRAM, timing=timing)
        start(model, driver)
        model.accelerator.run(int(cycle), until_interrupt=False)
        driver.reset()
        assert model.accelerator.read(offset("status")) == 0
        assert model.accelerator.read(offset("irq_status")) == 0
        # At once, with nothing loaded again.
        compare(driver, IMAGES[1], EXPECTED[1])


def test_counters_and_stamps(model):
    """Equal runs take equally long, and a slower memory costs cycles."""
    driver, _ = model.driver(PROGRAM)
    first, second = (driver.run(IMAGES[0]) for _ in range(2))
    assert abs(first.cycles - second.cycles) <= 40
    assert first.array_cycles == second.array_cycles
    assert len(first.layer_cycles) == len(PROGRAM.layers)
    driver, _ = model.driver(PROGRAM, timing=MemoryTiming(read_latency=500))
    assert driver.run(IMAGES[0]).cycles > first.cycles + 500
    steps = sum(_steps(layer) for layer in range(len(PROGRAM.layers)))
    assert first.array_cycles == steps


def _steps(layer):
    """Steps of a layer: taps times channel groups times groups of positions, from its commands."""

    total = 0
    for command in read_commands(PROGRAM.commands):
        if isinstance(command, Compute) and command.layer == layer:
            groups = -(-command.positions // command.pixels)
            taps = command.kernel_h * command.kernel_w * command.channel_groups
            total += groups * taps * command.filter_groups
    return total


def test_the_accelerator_says_what_it_is(model):
    def field(name):
        return REGISTERS[name].unpack(model.accelerator.read(offset(name)))

    array, axi = field("array_shape"), field("axi_shape")
    assert (array.lanes, array.filters, array.pixels) == (
        CONFIG.lanes, CONFIG.filters, CONFIG.pixels
    )  # fmt: skip
    assert not array.multiply
    assert (axi.ports, axi.data_width) == (CONFIG.axi_ports, CONFIG.axi_data_width)


def test_another_configuration(model):
    program = replace(PROGRAM, config=replace(CONFIG, name="other", act_depth=2048))
    message = (
        rf"^the program is for configuration {program.config.digest:#010x} \(other\), the "
        f"accelerator has {CONFIG.digest:#010x}$"
    )
    with pytest.raises(AcceleratorError, match=message):
        model.driver(program)
    model.driver(replace(PROGRAM, config=replace(CONFIG, name="renamed", clock_mhz=100)))


class Registers:
    """Registers alone, for accelerators that do not exist."""

    def __init__(self, values):
        self.values = values

    def read(self, offset):
        return self.values.get(offset, 0)

    def write(self, offset, value):
        raise AssertionError("nothing may be written before the accelerator is known")

    def allocate(self, size):
        return Buffer(np.zeros(size, np.uint8), 0)

    def wait(self):
        return False


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "register identity must be 0x4e42514e, not 0x0"),
        ({0: IDENTITY, 4: 0x00FF_0007}, r"the accelerator must be of version \d+, not 255"),
    ],
)
def test_no_accelerator(values, message):
    with pytest.raises(AcceleratorError, match=f"^{message}$"):
        Driver(Registers(values), PROGRAM)


def test_images_that_do_not_fit(model):
    driver, _ = model.driver(PROGRAM)
    with pytest.raises(
        ValueError, match=r"images of shape \(1, 3, 8, 6\); expected \(N, 3, 8, 7\)"
    ):
        driver.run(IMAGES[0][:, :, :6])
    with pytest.raises(ValueError, match="images must be finite, not nan"):
        driver.run(np.full_like(IMAGES[0], np.nan))
    check_next(model)


def test_numbers_of_other_kinds(model):
    """Floats give the interpreter's codes, also where float32 would round to another one; what is
    no float, such as pixels that nobody has scaled, is refused as by the interpreter."""
    driver, _ = model.driver(PROGRAM)
    (node,) = GRAPH.input_nodes
    step = 2.0**node.exponent
    below_ties = (np.floor(IMAGES[0].astype(np.float64) / step) + 0.5) * step - 1e-12
    for x in (below_ties, IMAGES[0].astype(np.float16), IMAGES[0].astype(">f4")):
        for name, codes in driver.run(x).outputs.items():
            wanted = run(GRAPH, x[None], trace=True)[name]
            assert np.array_equal(codes, wanted.reshape(codes.shape))
    for kind in (np.uint8, np.int64, bool, complex):
        x = IMAGES[:1].astype(kind)
        for action in (
            lambda x=x: driver.run(x),
            lambda x=x: run_batch(driver, x),
            lambda x=x: run_batch(driver, {node.name: x}),
        ):
            with pytest.raises(NbqnnError, match=f"mages must be float32, not {x.dtype}"):
                action()
    check_next(model)
