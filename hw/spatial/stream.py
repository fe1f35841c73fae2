"""A circuit between two AXI4-Streams."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component
from hw.rtl.stream.fifo import StreamFifo
from hw.spatial.frame import most_results
from hw.spatial.network import Network
from hw.spatial.plan import NetworkPlan
from hw.spatial.raster import Raster
from hw.spatial.source import Pacemaker

__all__ = ["QUEUE_LATENCY", "TOP", "CircuitStream"]

TOP = "nbqnn_spatial"
#: Cycles that a result takes through the queue.
QUEUE_LATENCY = 2
#: Results that the queue holds in addition to those that are on their way.
_SPARE = 4
#: Cycles from a result's arrival in the queue until the source counts it.
_KNOWN = 3


def _bytes(bits: int) -> int:
    """Bits of whole bytes, as AXI4-Stream has them."""
    return -(-bits // 8) * 8


class CircuitStream(Component):
    """A :class:`Network` with backpressure: positions in, row by row, and positions out.

    The circuit never stops, so its registers need no enable. A queue behind it takes the results.
    A position is taken only when the queue has room for all results that may be on their way, so
    none is lost. Latency ``latency`` cycles from an image's first beat to ``tvalid`` of its first
    result, if nothing waits. If an image's last position comes with TLAST, its last result goes out
    with TLAST.

    Members
    -------
    s_axis_tdata : ``In``, channel 0 in the low bits, whole bytes; s_axis_tvalid, s_axis_tlast :
        ``In(1)``; s_axis_tready : ``Out(1)``
    m_axis_tdata : ``Out``; m_axis_tvalid, m_axis_tlast : ``Out(1)``; m_axis_tready : ``In(1)``
    """

    def __init__(self, plan: NetworkPlan):
        self.plan = plan
        self.network = Network(plan)
        self.bits = (plan.parts[0].bits, plan.parts[-1].bits)
        super().__init__({
            "s_axis_tdata": In(_bytes(self.bits[0])), "s_axis_tvalid": In(1),
            "s_axis_tlast": In(1), "s_axis_tready": Out(1),
            "m_axis_tdata": Out(_bytes(self.bits[1])), "m_axis_tvalid": Out(1),
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
        """Cycles from input to output, through circuit and queue."""
        return self.plan.latency + QUEUE_LATENCY

    @property
    def on_their_way(self) -> int:
        """Most results that the circuit holds when the source stops."""
        result = self.plan.parts[-1]
        cycles = result.pace.late + result.timing.latency + _KNOWN
        slots = -(-cycles // result.pace.interval) + 1
        return most_results(result.pace.frame, result.grid, result.timing, slots)

    @property
    def pictures(self) -> int:
        """Images that are inside at once, at full rate."""
        plan = self.plan
        waiting = self.on_their_way + _SPARE
        results = plan.parts[-1].grid.height * plan.parts[-1].grid.width
        return -(-(self.latency + 4) // plan.cycles_per_image) + -(-waiting // results) + 2

    def build(self) -> Module:
        m = Module()
        plan, bits = self.plan, self.bits[1]
        m.submodules.network = network = self.network
        pace = Pacemaker(plan.pace.frame, plan.parts[0].grid, plan.pace.interval)
        room = self.on_their_way + _SPARE
        shape = data.StructLayout({"codes": bits, "last": 1})
        m.submodules.pace = pace
        m.submodules.results = results = StreamFifo(shape, room)
        m.submodules.ends = ends = StreamFifo(1, max(3, self.pictures))
        taken, given = Signal(), Signal()
        m.d.comb += [
            pace.valid.eq(self.s_axis_tvalid & ends.i.ready),
            self.s_axis_tready.eq(pace.ready & ends.i.ready),
            pace.busy.eq(~ends.empty),
            network.i.valid.eq(pace.slot),
            network.i.payload.first.eq(pace.first),
            network.i.payload.data.eq(self.s_axis_tdata),
            taken.eq(self.s_axis_tvalid & self.s_axis_tready),
            ends.i.valid.eq(taken & pace.last),
            ends.i.payload.eq(self.s_axis_tlast),
            # An image's end may become known after its last result.
            self.m_axis_tvalid.eq(results.o.valid & (~results.o.payload.last | ends.o.valid)),
            self.m_axis_tdata.eq(results.o.payload.codes),
            self.m_axis_tlast.eq(results.o.payload.last & ends.o.payload),
            given.eq(self.m_axis_tvalid & self.m_axis_tready),
            results.o.ready.eq(given),
            ends.o.ready.eq(given & results.o.payload.last),
        ]
        kept = self._results(m, results)
        waiting = Signal(range(room + 1))
        m.d.sync += [
            waiting.eq(waiting + kept - given),
            pace.allow.eq(waiting + kept - given < _SPARE),
        ]
        return m

    def _results(self, m: Module, results: StreamFifo) -> Signal:
        """Puts results into the queue. Returns whether there is one in this cycle."""
        out, grid = self.network.o, self.plan.parts[-1].grid
        kept = Signal()
        if grid.single:
            m.d.comb += [kept.eq(out.valid), results.i.payload.last.eq(1)]
        else:
            m.submodules.raster = raster = Raster(grid.row, grid.height, (1, 1))
            begun = Signal()
            m.d.sync += begun.eq(begun | (out.valid & out.payload.first))
            inside = (raster.x < grid.width) & (raster.y < grid.height)
            m.d.comb += [
                raster.slot.eq(out.valid),
                raster.first.eq(out.payload.first),
                kept.eq(out.valid & (begun | out.payload.first) & inside),
                results.i.payload.last.eq(
                    (raster.x == grid.width - 1) & (raster.y == grid.height - 1)
                ),
            ]
        m.d.comb += [results.i.valid.eq(kept), results.i.payload.codes.eq(out.payload.data)]
        return kept
