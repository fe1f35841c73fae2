"""The accelerator without its buses: command queues, engines and on-chip memories."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.causes import CommandFault, Stall
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Opcode, Region
from hw.contract.timing import QUEUED_COMMANDS
from hw.rtl.axi.bursts import request_layout
from hw.rtl.axi.read_dma import read_data_layout
from hw.rtl.cells.comparison import Comparison
from hw.rtl.component import Component
from hw.rtl.control.compute import ComputeEngine
from hw.rtl.control.fetch import ENGINES, CommandFetch, queued_layout
from hw.rtl.control.stalls import StallCauses
from hw.rtl.control.transfer import LENGTH_BITS, LoadEngine, StoreEngine, bases_layout
from hw.rtl.memory.activations import ActivationMemory
from hw.rtl.memory.wide import WideMemory
from hw.rtl.post.requantizer import param_layout
from hw.rtl.reset import add_with_reset
from hw.rtl.stream.fifo import StreamFifo

__all__ = ["Core"]


class Core(Component):
    """Runs one program from ``start`` to ``done`` or a fault.

    How long that takes is the program's affair (:mod:`hw.model.cycles`). One program at a time.

    Members
    -------
    start : ``In(1)``, ``length`` : ``In(16)``, descriptors of the program
    bases : ``In(bases_layout(config))``
    fetch_request, fetch_data, load_request, load_data
        To and from the readers.
    store_request, store_data, store_done
        To and from the writer.
    done : ``Out(1)``, the END was reached and all commands are complete
    fault : ``Out(CommandFault)``, ``index`` : ``Out(16)``, as in :class:`CommandFetch`
    load_busy, compute_busy, store_busy : ``Out(1)``, for the counters
    stepping : ``Out(1)``, stalls : ``Out(5)``, as in :class:`~hw.rtl.control.stalls.StallCauses`
    layer_done : ``Out(1)``, ``layer`` : ``Out(8)``, a layer's last command is complete
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        c = config
        request = stream.Signature(request_layout(c.axi_address_width, LENGTH_BITS))
        beat = stream.Signature(read_data_layout(c.axi_beat_bits))
        super().__init__({
            "start": In(1),
            "length": In(16),
            "bases": In(bases_layout(c)),
            "fetch_request": Out(request),
            "fetch_data": In(beat),
            "load_request": Out(request),
            "load_data": In(beat),
            "store_request": Out(request),
            "store_data": Out(stream.Signature(c.axi_beat_bits)),
            "store_done": In(1),
            "done": Out(1),
            "fault": Out(CommandFault),
            "index": Out(16),
            "load_busy": Out(1),
            "compute_busy": Out(1),
            "store_busy": Out(1),
            "stepping": Out(1),
            "stalls": Out(len(Stall)),
            "layer_done": Out(1),
            "layer": Out(8),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c = self.config
        self.fetch = CommandFetch(c)
        self.load, self.compute, self.store = LoadEngine(c), ComputeEngine(c), StoreEngine(c)
        self.stall_causes = StallCauses()
        for name in ("fetch", "load", "compute", "store", "stall_causes"):
            add_with_reset(m, name, getattr(self, name))
        self._connect_memories(m)
        self._connect_buses(m)
        self._queue_commands(m)
        self._end(m)
        m.d.comb += [
            self.load_busy.eq(self.load.busy),
            self.compute_busy.eq(self.compute.busy),
            self.store_busy.eq(self.store.busy),
            self.stepping.eq(self.stall_causes.stepping),
            self.stalls.eq(self.stall_causes.stalls),
        ]
        return m

    def _connect_memories(self, m: Module) -> None:
        c = self.config
        act = ActivationMemory(c)
        weight = WideMemory(width=c.weight_word_bits, depth=c.weight_depth)
        param = WideMemory(width=c.post_lanes * param_layout(c).size, depth=c.param_depth)
        add_with_reset(m, "act_memory", act)
        m.submodules.weight_memory, m.submodules.param_memory = weight, param
        for user, port in (
            (self.compute.act_read, act.read),
            (self.compute.act_drain, act.drain),
            (self.load.act, act.load),
            (self.store.act, act.store),
            (self.compute.weight, weight.read),
            (self.compute.param, param.read),
            (self.load.weight, weight.write),
            (self.load.param, param.write),
        ):
            wiring.connect(m, user, port)
        if c.tables:
            wiring.connect(m, self.load.table, self.compute.table)
        m.d.comb += self.compute.act.eq(act.read_data)

    def _connect_buses(self, m: Module) -> None:
        fetch, load, store = self.fetch, self.load, self.store
        wiring.connect(m, fetch.request, wiring.flipped(self.fetch_request))
        wiring.connect(m, wiring.flipped(self.fetch_data), fetch.data)
        wiring.connect(m, load.request, wiring.flipped(self.load_request))
        wiring.connect(m, wiring.flipped(self.load_data), load.data)
        wiring.connect(m, store.request, wiring.flipped(self.store_request))
        wiring.connect(m, store.data, wiring.flipped(self.store_data))
        m.d.comb += [
            fetch.start.eq(self.start),
            fetch.base.eq(self.bases[Region.PROGRAM]),
            fetch.length.eq(self.length),
            self.fault.eq(fetch.fault),
            self.index.eq(fetch.index),
            load.bases.eq(self.bases),
            store.bases.eq(self.bases),
            store.request_done.eq(self.store_done),
        ]

    def _queue_commands(self, m: Module) -> None:
        """Queues commands; the first one of a queue waits for commands of other engines."""
        self.completed = {
            opcode: Signal(16, name=f"completed_{opcode.name.lower()}") for opcode in ENGINES
        }
        self.idle = Signal(len(ENGINES))
        for index, opcode in enumerate(ENGINES):
            name = opcode.name.lower()
            engine = getattr(self, name)
            queue = StreamFifo(queued_layout(opcode), QUEUED_COMMANDS)
            m.submodules[f"queue_{name}"] = queue
            wiring.connect(m, getattr(self.fetch, name), queue.i)
            behind = self._behind(m, name, queue.o.p.head)
            # A count that was reached stays reached until the command leaves.
            reached = Signal(len(behind), name=f"reached_{name}")
            leaves = Signal(name=f"leaves_{name}")
            m.d.comb += [
                engine.command.payload.eq(queue.o.p.body),
                engine.command.valid.eq(reached.all()),
                leaves.eq(engine.command.ready & reached.all()),
                queue.o.ready.eq(leaves),
                self.idle[index].eq(queue.empty & ~engine.busy),
            ]
            m.d.sync += reached.eq(Mux(queue.o.valid & ~leaves, ~Cat(behind), 0))
            completed = self.completed[opcode]
            m.d.sync += completed.eq(completed + engine.done)
            with m.If(self.start):
                m.d.sync += completed.eq(0)
            if opcode is Opcode.COMPUTE:
                self._stamp_layers(m, queue.o.p.head, leaves)
                self._explain_stalls(m, queue, behind)

    def _behind(self, m: Module, name: str, head: data.View) -> list[Value]:
        """For each engine: its count of commands is below what the command waits for.

        No count passes ``2**16 - 1``, because no program has more commands.
        """
        behind = []
        for other in ENGINES:
            number, wait = self.completed[other], head[f"wait_{other.name.lower()}"]
            comparison = Comparison(bits=len(number))
            m.submodules[f"compare_{name}_{other.name.lower()}"] = comparison
            # Half of the range less: the numbers have no sign, the comparison does.
            m.d.comb += [
                comparison.a.eq(Cat(wait[:-1], ~wait[-1])),
                comparison.b.eq(Cat(number[:-1], ~number[-1])),
            ]
            behind.append(comparison.result)
        return behind

    def _stamp_layers(self, m: Module, head: data.View, leaves: Signal) -> None:
        """Keeps the layers of commands in the compute engine, to stamp them on completion."""
        layout = data.StructLayout({"layer": 8, "end": 1})
        layers = StreamFifo(layout, self.compute.commands_under_way)
        m.submodules.layers = layers
        m.d.comb += [
            layers.i.p.layer.eq(head.layer),
            layers.i.p.end.eq(head.layer_end),
            layers.i.valid.eq(leaves),
            layers.o.ready.eq(self.compute.done),
            self.layer.eq(layers.o.p.layer),
            self.layer_done.eq(self.compute.done & layers.o.p.end),
        ]

    def _explain_stalls(self, m: Module, queue: StreamFifo, behind: list[Value]) -> None:
        causes, fetch = self.stall_causes, self.fetch
        m.d.comb += [
            causes.step.eq(self.compute.step),
            causes.held.eq(self.compute.held),
            causes.walking.eq(~self.compute.command.ready),
            causes.queued.eq(queue.o.valid),
            causes.wait_load.eq(behind[ENGINES.index(Opcode.LOAD)]),
            causes.wait_compute.eq(behind[ENGINES.index(Opcode.COMPUTE)]),
            causes.wait_store.eq(behind[ENGINES.index(Opcode.STORE)]),
            causes.full_load.eq(fetch.load.valid & ~fetch.load.ready),
            causes.full_store.eq(fetch.store.valid & ~fetch.store.ready),
            causes.storing.eq(~self.idle[ENGINES.index(Opcode.STORE)]),
        ]

    def _end(self, m: Module) -> None:
        """Finds out when all commands are complete.

        When the END comes, the last commands may still be on their way into a queue or an engine.
        """
        ended = Signal()
        settle = Signal(3)
        m.d.comb += [self.stall_causes.ended.eq(ended), self.done.eq(ended & settle.all())]
        with m.If(self.fetch.end):
            m.d.sync += ended.eq(1)
        with m.If(~ended | self.fetch.busy | ~self.idle.all()):
            m.d.sync += settle.eq(0)
        with m.Else():
            m.d.sync += settle.eq((settle << 1) | 1)
        with m.If(self.done | self.start):
            m.d.sync += [ended.eq(0), settle.eq(0)]
