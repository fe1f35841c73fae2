"""sim.testbench: a whole network in a simulator that is not Verilator, in two languages."""

import re
import shutil
import subprocess
from math import prod

import numpy as np
import pytest

from hw.compiler import compile_graph
from hw.contract.program import ProgramError
from nbqnn_train.graph import NbqnnError, tensor_types
from sim.testbench import write_testbench
from tests.hw.accelerators import BENCHED, verilog_of
from tests.hw.faults import fault_network
from tests.hw.networks import images, small_network

CONFIG = BENCHED["shift_32"]


def whole_network(config):
    return small_network(
        act_bits=config.act_bits, weight_bits=config.weight_bits, scale=config.requant == "scale"
    )


def short_network(config):
    return fault_network(config.act_bits, config.weight_bits)


GRAPH = whole_network(CONFIG)


def write_all(graph, config, folder):
    """The bench, its memory and the accelerator."""
    write_testbench(compile_graph(graph, config), images(graph, 1), config, folder)
    (folder / "nbqnn.v").write_text(verilog_of(config))
    # None of them takes half as many cycles. A run that hangs is to end soon.
    text = (folder / "testbench.v").read_text()
    text, count = re.subn(r"LONGEST = \d+;", "LONGEST = 10_000;", text)
    assert count == 1
    (folder / "testbench.v").write_text(text)
    return folder


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A folder with all that a whole network takes."""
    return write_all(GRAPH, CONFIG, tmp_path_factory.mktemp("testbench"))


def simulated(folder, generation, bench="testbench.v"):
    """What Icarus Verilog prints when it reads all as that generation of the language."""
    run = folder / f"run{generation}"
    command = ["iverilog", f"-g{generation}", "-Wall", "-Wno-timescale", "-s", "testbench"]
    built = subprocess.run(
        [*command, "-o", run, bench, "nbqnn.v"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert built.stdout + built.stderr == ""
    done = subprocess.run(
        ["vvp", run], cwd=folder, capture_output=True, text=True, timeout=280, check=True
    )
    return done.stdout.splitlines()


icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog (iverilog) is not installed"
)


@icarus
@pytest.mark.parametrize("name", BENCHED)
def test_every_output_of_a_short_network(tmp_path, name):
    config = BENCHED[name]
    folder = write_all(short_network(config), config, tmp_path)
    (line,) = simulated(folder, 2012)
    assert line.startswith("PASS: "), line


# Verilog and SystemVerilog start processes and variables in another order.
@icarus
@pytest.mark.parametrize("generation", [2012, 2005])
def test_every_output_of_a_network(bench, generation):
    (line,) = simulated(bench, generation)
    assert line.startswith("PASS: "), line


@icarus
@pytest.mark.parametrize("generation", [2012, 2005])
def test_unused_channels_are_no_unknown_factors(tmp_path, generation):
    """A multiplier's product with an unknown word is unknown, even where the weight is 0."""
    config = BENCHED["multiply_128"]
    folder = write_all(whole_network(config), config, tmp_path)
    (line,) = simulated(folder, generation)
    assert line.startswith("PASS: "), line


@icarus
def test_a_wrong_byte_is_found(bench, tmp_path):
    for name in ("testbench.v", "memory.hex", "mask.hex", "nbqnn.v"):
        shutil.copy(bench / name, tmp_path)
    lines = (bench / "expected.hex").read_text().splitlines()
    address, first, *others = lines[0].split()
    mask = int((bench / "mask.hex").read_text().split()[1], 16)
    assert mask
    lines[0] = " ".join([address, f"{int(first, 16) ^ mask & -mask:02x}", *others])
    (tmp_path / "expected.hex").write_text("\n".join(lines))
    *_, counted, verdict = simulated(tmp_path, 2012)
    assert counted.startswith("1 of ")
    assert verdict == "FAIL: the outputs are not those of the interpreter"


@icarus
def test_an_accelerator_with_another_configuration_is_found(bench, tmp_path):
    for file in bench.glob("*.*"):
        shutil.copy(file, tmp_path)
    text = (tmp_path / "testbench.v").read_text()
    digest = f"32'h{CONFIG.digest:08x}"
    assert text.count(digest) == 1
    (tmp_path / "testbench.v").write_text(text.replace(digest, "32'h1"))
    assert simulated(tmp_path, 2012) == ["FAIL: the accelerator has another configuration"]


@icarus
@pytest.mark.parametrize("name", ["memory.hex", "expected.hex", "mask.hex"])
def test_a_file_that_is_not_there_is_named(bench, tmp_path, name):
    """As where the simulator runs in another folder."""
    for file in bench.glob("*.*"):
        if file.name != name:
            shutil.copy(file, tmp_path)
    assert simulated(tmp_path, 2005) == [
        f"{name} cannot be read",
        "FAIL: the simulator must run in the folder of the bench",
    ]


@icarus
@pytest.mark.parametrize(
    ("port", "verdict"),
    [("irq", "no interrupt in time"), ("s_axi_rdata", "the identity is another one")],
)
def test_unknown_bits_are_wrong(bench, tmp_path, port, verdict):
    """At the accelerator's ports, which is then another one."""
    for file in bench.glob("*.*"):
        shutil.copy(file, tmp_path)
    text = (tmp_path / "testbench.v").read_text()
    assert text.count(f".{port}({port})") == 1
    (tmp_path / "testbench.v").write_text(text.replace(f".{port}({port})", f".{port}()"))
    command = ["iverilog", "-g2005", "-s", "testbench", "-o", "run", "testbench.v", "nbqnn.v"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    done = subprocess.run(["vvp", "run"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == f"FAIL: {verdict}\n"


def test_longer_than_an_integer(tmp_path, monkeypatch):
    monkeypatch.setattr("sim.testbench.longest_run", lambda program: 1 << 33)
    write_testbench(compile_graph(GRAPH, CONFIG), images(GRAPH, 1), CONFIG, tmp_path)
    assert "LONGEST = 2147483647;" in (tmp_path / "testbench.v").read_text()


def test_refused(tmp_path):
    program = compile_graph(GRAPH, CONFIG)
    x = images(GRAPH, 1)
    with pytest.raises(ProgramError, match=r"^the program must be for configuration 0x\w{8} "):
        write_testbench(program, x, BENCHED["multiply_128"], tmp_path)
    with pytest.raises(NbqnnError, match=r"^Images must have shape "):
        write_testbench(program, x[:, :2], CONFIG, tmp_path)
    with pytest.raises(NbqnnError, match=r"^Images must be 1, the program's batch, .* not 0$"):
        write_testbench(program, x[:0], CONFIG, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_all_bits_of_the_outputs_count(bench):
    """And no others."""
    lines = (bench / "mask.hex").read_text().splitlines()
    mask = b"".join(bytes.fromhex("".join(line.split()[1:])) for line in lines)
    types = tensor_types(GRAPH)
    codes = sum(prod(types[name].shape) for name in GRAPH.outputs)
    assert np.unpackbits(np.frombuffer(mask, np.uint8)).sum() == CONFIG.act_bits * codes
