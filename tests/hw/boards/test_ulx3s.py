"""The whole board in RTL, from the driver to the pins: codes, errors, a pressed button."""

from dataclasses import replace

import numpy as np
import pytest

from hw.boards.registry import find_board
from hw.boards.shells.ulx3s import MEMORY_BYTES, Ulx3s
from hw.compiler import compile_graph
from hw.driver import AcceleratorError, BusError, Driver, UartBus
from hw.rtl.verilog import emit
from sim.serial import VerilatedBoard, netlist_with_models
from sim.verilator import lint
from tests.hw.accelerators import VERILATED
from tests.hw.networks import images, traced_codes
from tests.hw.rtl.host.networks import two_layers

CONFIG = replace(VERILATED["least_32"], clock_mhz=50)
GRAPH = two_layers(act_bits=CONFIG.act_bits, weight_bits=CONFIG.weight_bits)
PROGRAM = compile_graph(GRAPH, CONFIG)
TOP = find_board("ulx3s").shell.top
IMAGES = images(GRAPH, 2)
EXPECTED = traced_codes(GRAPH, IMAGES)


@pytest.fixture(scope="module")
def verilog():
    return emit(Ulx3s(CONFIG))


@pytest.fixture(scope="module")
def board(verilog):
    models = netlist_with_models(verilog)
    with VerilatedBoard(models, TOP, clock_hz=50_000_000, optimize="-O1") as made:
        yield made


def connect(board, **options):
    return UartBus(board, baud=12_500_000, **options)


def check(driver, number):
    result = driver.run(IMAGES[number])
    for name, codes in result.outputs.items():
        assert np.array_equal(codes, EXPECTED[number][name].reshape(codes.shape))
    return result


def test_codes(board):
    """Of two images; a second connection finds the accelerator as it was and does the same."""
    bus = connect(board)
    assert (bus.clock_hz, bus.memory_bytes) == (50_000_000, MEMORY_BYTES)
    driver = Driver(bus, PROGRAM)
    assert board.leds & 0b101 == 0b001
    cycles = [check(driver, number).cycles for number in (0, 1)]
    assert abs(cycles[0] - cycles[1]) < 100
    # The line is far slower than the clock.
    check(Driver(UartBus(board, baud=1_000_000), PROGRAM), 0)


def test_errors_and_recovery(board):
    """A damaged program, a memory that ends too early, a wait without end; then as ever."""
    damaged = bytearray(PROGRAM.commands)
    damaged[200] ^= 1
    driver = Driver(connect(board), replace(PROGRAM, commands=bytes(damaged)))
    with pytest.raises(AcceleratorError, match=r"^the run ended with error CHECKSUM at command 1"):
        driver.run(IMAGES[0])
    driver = Driver(connect(board), PROGRAM)
    check(driver, 1)

    # Behind the driver's back: an input beyond the memory, and a window that allows it.
    base = driver._memory.bases
    driver._write_address("input_base", MEMORY_BYTES)
    driver._write_address("window_last", 2 * MEMORY_BYTES - 1)
    with pytest.raises(AcceleratorError, match=r"with error READ at .*, address 0x10000$"):
        driver.run(IMAGES[0])
    driver._write_address("input_base", next(at for region, at in base.items() if region == 2))
    check(driver, 0)

    driver = Driver(connect(board, time_limit_s=0.0), PROGRAM)
    driver._write("irq_enable", 0)
    with pytest.raises(AcceleratorError, match=r"^the run ended with no interrupt in time at"):
        driver.run(IMAGES[0])
    driver = Driver(connect(board), PROGRAM)
    check(driver, 0)


def test_the_button(board):
    """Resets everything but the memory's content."""
    Driver(connect(board), PROGRAM)
    board.press_reset()
    bus = connect(board)
    assert bus.read(0x28) == 0
    check(Driver(bus, PROGRAM), 1)


def test_programs_of_others(board):
    other = replace(PROGRAM, config=replace(CONFIG, name="other", act_depth=256))
    with pytest.raises(AcceleratorError, match=r"^the program is for configuration .* \(other\)"):
        Driver(connect(board), other)
    large = replace(PROGRAM, parameters=bytes(MEMORY_BYTES))
    message = (
        rf"^the board's memory must have \d+ bytes free in one piece, but has {MEMORY_BYTES} of"
    )
    with pytest.raises(BusError, match=message):
        Driver(connect(board), large)


def test_lint(verilog, tmp_path):
    # Outputs of the phase-locked loop that are not used have no driver in its model.
    models = netlist_with_models("")
    pll = models[models.index("module EHXPLLL") : models.index("// 1,024 words of 18 bits")]
    ignored = ("UNDRIVEN", "UNUSEDPARAM", "PINMISSING")
    text = f"{''.join(f'/* verilator lint_off {name} */' for name in ignored)}\n{pll}\n{verilog}"
    assert lint(text, TOP, tmp_path) == ""
