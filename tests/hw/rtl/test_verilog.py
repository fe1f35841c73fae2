# amaranth: UnusedElaboratable=no
"""hw.rtl.verilog: one module per distinct component, and the same text every time."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from pyosys import libyosys

from hw.rtl.component import Component
from hw.rtl.verilog import emit
from sim.verilator import lint


class Delay(Component):
    """One register, with a stream as its input to show how members are named."""

    module_name = ""

    def __init__(self, width: int, module_name: str | None = None):
        self.width = width
        self.module_name = module_name or f"delay_w{width}"
        super().__init__(
            {
                "i": In(stream.Signature(signed(width))),
                "o": Out(stream.Signature(signed(width), always_ready=True)),
                "tap": Out(1).array(2),
            }
        )

    def build(self):
        m = Module()
        m.d.comb += self.i.ready.eq(1)
        m.d.comb += [tap.eq(self.i.valid) for tap in self.tap]
        m.d.sync += [self.o.payload.eq(self.i.payload), self.o.valid.eq(self.i.valid)]
        return m


class Inverter(Component):
    """Combinational: it has no use for the clock."""

    module_name = "inverter"
    i: In(4)
    o: Out(4)

    def build(self):
        m = Module()
        m.d.comb += self.o.eq(~self.i)
        return m


class Chain(Component):
    """Delays in a row, then an inverter, and a memory that has no module name of its own."""

    i: In(4)
    o: Out(4)
    q: Out(4)

    module_name = ""

    def __init__(self, delays):
        self.module_name = f"chain_{len(delays)}"
        self.delays = delays
        super().__init__()

    def build(self):
        m = Module()
        value = self.i
        for index, delay in enumerate(self.delays):
            m.submodules[f"delay_{index}"] = delay
            m.d.comb += [delay.i.valid.eq(1), delay.i.payload.eq(value)]
            value = delay.o.payload
        m.submodules.inverter = inverter = Inverter()
        m.d.comb += [inverter.i.eq(value), self.o.eq(inverter.o)]
        m.submodules.store = store = memory.Memory(shape=4, depth=4, init=[])
        read, write = store.read_port(), store.write_port()
        m.d.comb += [write.en.eq(1), write.data.eq(value), self.q.eq(read.data)]
        return m


def modules(text):
    return re.findall(r"^module (\w+)", text, flags=re.MULTILINE)


def test_distinct_components_once_before_their_users():
    text = emit(Chain([Delay(4), Delay(4), Delay(5), Delay(4)]))
    assert modules(text) == ["delay_w4", "delay_w5", "inverter", "chain_4"]
    assert len(re.findall(r"^  delay_w4 delay_\d \(", text, flags=re.MULTILINE)) == 3


def test_port_names_and_clock():
    text = emit(Delay(4))
    header = re.search(r"^module delay_w4\((.*)\);", text, flags=re.MULTILINE)[1]
    assert set(header.split(", ")) == {
        "clk", "rst", "i__payload", "i__valid", "i__ready", "o__payload", "o__valid", "tap__0",
        "tap__1",
    }  # fmt: skip


def test_same_text_in_another_process():
    code = (
        "from test_verilog import Chain, Delay, emit\n"
        "print(emit(Chain([Delay(4), Delay(5)])), end='')"
    )
    paths = (Path(__file__).parent, Path(__file__).parents[2])
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
    )
    assert run.stdout == emit(Chain([Delay(4), Delay(5)]))


def test_nothing_of_this_machine_in_the_text():
    text = emit(Chain([Delay(4), Delay(5)]))
    for trace in ("/", "amaranth", "yosys", ".py", ".cc:"):
        assert trace not in text.replace("//", "").lower(), trace


def test_same_name_with_other_ports():
    with pytest.raises(ValueError, match=r"^Module name must be unique.*'same'"):
        emit(Chain([Delay(4, "same"), Delay(5, "same")]))


@pytest.mark.parametrize(
    ("component", "error", "message"),
    [
        (object(), TypeError, r"^Component must be a Component, not <object"),
        (wiring.Component({"i": In(1)}), TypeError, r"^Component must be a Component, not <"),
        (
            Delay(4, "two words"),
            ValueError,
            "^Module name must be a Verilog identifier, not 'two w",
        ),
    ],
)
def test_refused_components(component, error, message):
    with pytest.raises(error, match=message):
        emit(component)


def test_simulation_in_amaranth_uses_the_components_themselves():
    chain = Chain([Delay(4), Delay(4)])
    seen = []

    async def bench(ctx):
        for value in (1, 2, 3, 4):
            ctx.set(chain.i, value)
            await ctx.tick()
            seen.append(ctx.get(chain.o))

    simulator = Simulator(chain)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen[1:] == [~1 & 15, ~2 & 15, ~3 & 15]


def test_verilator_has_nothing_to_say(tmp_path):
    assert lint(emit(Chain([Delay(4), Delay(5)])), "chain_2", tmp_path) == ""


def test_yosys_reads_it(tmp_path):
    """With every module found and every port connected to one of its width."""
    (tmp_path / "design.v").write_text(emit(Chain([Delay(4), Delay(5)])))
    design = libyosys.Design()
    for command in (
        f"read_verilog {tmp_path / 'design.v'}",
        "hierarchy -check -top chain_2",
        "proc",
        "check -assert",
    ):
        libyosys.run_pass(command, design)


def test_memories_hold_zeros_in_simulators_only(tmp_path):
    """And so does what reads them. Tools for synthesis see no line of that."""
    text = emit(Chain([Delay(4), Delay(5)]))
    inside = text[text.index("`ifndef SYNTHESIS") : text.index("`endif")]
    assert "for (_word_ = 0; _word_ <= 3; _word_ = _word_ + 1) store[_word_] = 4'h0;" in inside
    assert re.search(r"^    _\d+_ = 4'h0;$", inside, flags=re.MULTILINE)
    (tmp_path / "design.v").write_text(text)
    design = libyosys.Design()
    for command in (f"read_verilog {tmp_path / 'design.v'}", "select -assert-none t:$meminit*"):
        libyosys.run_pass(command, design)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_icarus_reads_it(tmp_path):
    (tmp_path / "design.v").write_text(emit(Chain([Delay(4), Delay(5)])))
    command = ["iverilog", "-t", "null", "-Wall", "-Wno-timescale", "design.v"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
