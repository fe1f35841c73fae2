"""A circuit between two AXI4-Streams."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component
from hw.rtl.stream.fifo import StreamFifo
from hw.spatial.network import DenseNetwork, NetworkPlan

__all__ = ["TOP", "DenseStream"]

TOP = "nbqnn_spatial"
#: Vectors that can wait for the output beside those in the circuit.
_SPARE = 4


def _bytes(bits: int) -> int:
    """Bits of whole bytes, as AXI4-Stream has them."""
    return -(-bits // 8) * 8


class DenseStream(Component):
    """A :class:`DenseNetwork` with backpressure; one vector in a beat, one beat per cycle.

    The circuit never stops. A vector is taken only when there is room for its result in a queue
    behind the circuit, so no enable reaches the circuit's registers and none of its results is
    lost. Latency ``latency`` cycles from a beat's handshake to its result's ``tvalid``, if nothing
    waits. TLAST comes out with the result of the beat that it came with.

    Members
    -------
    s_axis_tdata : ``In``, feature 0 in the low bits, whole bytes; s_axis_tvalid, s_axis_tlast :
        ``In(1)``; s_axis_tready : ``Out(1)``
    m_axis_tdata : ``Out``; m_axis_tvalid, m_axis_tlast : ``Out(1)``; m_axis_tready : ``In(1)``
    """

    def __init__(self, plan: NetworkPlan):
        self.plan = plan
        self.network = DenseNetwork(plan)
        super().__init__({
            "s_axis_tdata": In(_bytes(len(self.network.i))), "s_axis_tvalid": In(1),
            "s_axis_tlast": In(1), "s_axis_tready": Out(1),
            "m_axis_tdata": Out(_bytes(len(self.network.o))), "m_axis_tvalid": Out(1),
            "m_axis_tlast": Out(1), "m_axis_tready": In(1),
        })  # fmt: skip

    @property
    def parameters(self) -> dict[str, object]:
        return {"plan": self.plan}

    @property
    def module_name(self) -> str:
        return TOP

    @property
    def latency(self) -> int:
        """Cycles from input to output: the circuit's and the queue's."""
        return self.plan.latency + 2

    def build(self) -> Module:
        m = Module()
        m.submodules.network = network = self.network
        bits = len(network.o)
        # More than are on their way at once, so that the stream never stops by itself.
        room = self.plan.latency + _SPARE
        shape = data.StructLayout({"codes": bits, "last": 1})
        m.submodules.results = results = StreamFifo(shape, room)
        taken, given = Signal(), Signal()
        # Vectors taken whose results are not given yet; ready is worked out a cycle ahead.
        inside = Signal(range(room + 1))
        m.d.comb += [
            taken.eq(self.s_axis_tvalid & self.s_axis_tready),
            given.eq(self.m_axis_tvalid & self.m_axis_tready),
        ]
        m.d.sync += [
            inside.eq(inside + taken - given),
            self.s_axis_tready.eq(inside + taken - given < room),
        ]
        last = Signal(self.plan.latency, reset_less=True)
        m.d.sync += last.eq(Cat(self.s_axis_tlast, last))
        m.d.comb += [
            network.i.eq(self.s_axis_tdata),
            network.i_valid.eq(taken),
            results.i.valid.eq(network.o_valid),
            results.i.payload.codes.eq(network.o),
            results.i.payload.last.eq(last[-1]),
            self.m_axis_tdata.eq(results.o.payload.codes),
            self.m_axis_tlast.eq(results.o.payload.last),
            self.m_axis_tvalid.eq(results.o.valid),
            results.o.ready.eq(self.m_axis_tready),
        ]
        return m
