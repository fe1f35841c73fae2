"""Counting instances, in tables and in Verilog."""

from amaranth.hdl import Module
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.rtl.component import Component
from hw.rtl.stream.fifo import StreamFifo
from hw.rtl.verilog import emit
from hw.synth.hierarchy import direct_instances, instances, module_texts, ports_only
from hw.synth.yosys import shared_modules
from tests.hw.synth.designs import Top

CELLS = {
    "top": {"row": 3, "LUT6": 2},
    "row": {"pe": 4, "FDRE": 5},
    "pe": {"LUT2": 10},
    "unused": {"pe": 99},
}


def test_instances_multiply_along_the_hierarchy():
    assert instances(CELLS, "top") == {"top": 1, "row": 3, "pe": 12}


def test_instances_are_found_in_our_verilog():
    found = direct_instances(emit(Top()))
    assert found["nbqnn_pe_array_test"] == {"element": 4}
    assert found["element"] == {}
    assert found["nbqnn"] == {"nbqnn_pe_array_test": 1, "storage": 1, "multiplier": 2}


def test_ports_alone_are_left():
    text = ports_only(module_texts(emit(StreamFifo(8, 4)))["nbqnn_stream_fifo_u8_depth4"])
    lines = text.splitlines()
    ports = ["i__payload", "i__ready", "i__valid", "o__payload", "o__ready", "o__valid"]
    ports += ["clk", "rst", "empty", "roomy"]
    assert lines[0].startswith("module nbqnn_stream_fifo_u8_depth4(")
    assert lines[0].endswith(");")
    assert lines[-1] == "endmodule"
    assert sorted(line.rstrip(";").split()[-1] for line in lines[1:-1]) == sorted(ports)
    assert "  input [7:0] i__payload;" in lines
    assert "  output [7:0] o__payload;" in lines


def test_modules_are_mapped_on_their_own_where_that_saves_time():
    """The array for its share, the element because there are four; nothing else occurs as often."""
    assert shared_modules(emit(Top()), "nbqnn") == {"nbqnn_pe_array_test", "element"}


class Queues(Component):
    """Four queues of streams, one behind the other."""

    module_name = "queues"

    def __init__(self):
        signature = stream.Signature(8)
        super().__init__({"i": In(signature), "o": Out(signature)})

    def build(self):
        m = Module()
        before = flipped(self.i)
        for number in range(4):
            queue = StreamFifo(8, 4)
            m.submodules[f"queue_{number}"] = queue
            connect(m, before, queue.i)
            before = queue.o
        connect(m, before, flipped(self.o))
        return m


def test_streams_are_mapped_with_what_is_around_them():
    """A path goes through ``ready``, however often the module is used."""
    verilog = emit(Queues())
    assert instances(direct_instances(verilog), "queues")["nbqnn_stream_fifo_u8_depth4"] == 4
    assert shared_modules(verilog, "queues") == set()
