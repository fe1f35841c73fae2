"""The accelerator without its buses: command queues, engines and on-chip memories."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
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

    Members
    -------
    start : ``In(1)``, ``length`` : ``In(16)``, descriptors of the program
    bases : ``In(bases_layout(config))``
    fetch_request, fetch_data, load_request, load_data : to and from the readers
    store_request, store_data, store_done : to and from the writer
    done : ``Out(1)``, the END was reached and everything is complete
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
        fetch = CommandFetch(c)
        load, compute, store = LoadEngine(c), ComputeEngine(c), StoreEngine(c)
        stalls = StallCauses()
        act = ActivationMemory(c)
        weight = WideMemory(width=c.weight_word_bits, depth=c.weight_depth)
        param = WideMemory(width=c.post_lanes * param_layout(c).size, depth=c.param_depth)
        for name, component in (
            ("fetch", fetch),
            ("load", load),
            ("compute", compute),
            ("store", store),
            ("stall_causes", stalls),
            ("act_memory", act),
        ):
            add_with_reset(m, name, component)
        m.submodules.weight_memory, m.submodules.param_memory = weight, param

        engines = {Opcode.LOAD: load, Opcode.COMPUTE: compute, Opcode.STORE: store}
        fetched = {
            Opcode.LOAD: fetch.load,
            Opcode.COMPUTE: fetch.compute,
            Opcode.STORE: fetch.store,
        }
        completed = {
            opcode: Signal(16, name=f"completed_{opcode.name.lower()}") for opcode in ENGINES
        }
        idle = Signal(len(ENGINES))
        for index, opcode in enumerate(ENGINES):
            engine = engines[opcode]
            queue = StreamFifo(queued_layout(opcode), QUEUED_COMMANDS)
            m.submodules[f"queue_{opcode.name.lower()}"] = queue
            wiring.connect(m, fetched[opcode], queue.i)
            head = queue.o.p.head
            # Which counts are behind what the command waits for, modulo 2**16. What has been
            # reached stays so until the command leaves.
            behind = []
            for other in ENGINES:
                name = other.name.lower()
                number, wait = completed[other], head[f"wait_{name}"]
                # The difference's highest bit; below it, a borrow.
                comparison = Comparison(bits=len(number))
                m.submodules[f"compare_{opcode.name.lower()}_{name}"] = comparison
                m.d.comb += [comparison.a.eq(wait[:-1]), comparison.b.eq(number[:-1])]
                behind.append(number[-1] ^ wait[-1] ^ comparison.result)
            reached = Signal(len(behind), name=f"reached_{opcode.name.lower()}")
            leaves = Signal(name=f"leaves_{opcode.name.lower()}")
            m.d.comb += [
                engine.command.payload.eq(queue.o.p.body),
                engine.command.valid.eq(reached.all()),
                leaves.eq(engine.command.ready & reached.all()),
                queue.o.ready.eq(leaves),
                idle[index].eq(queue.empty & ~engine.busy),
            ]
            m.d.sync += reached.eq(Mux(queue.o.valid & ~leaves, ~Cat(behind), 0))
            m.d.sync += completed[opcode].eq(completed[opcode] + engine.done)
            with m.If(self.start):
                m.d.sync += completed[opcode].eq(0)
            if opcode is Opcode.COMPUTE:
                under_way = StreamFifo(9, engine.commands_under_way)
                m.submodules.layers = under_way
                m.d.comb += [
                    stalls.walking.eq(~engine.command.ready),
                    stalls.queued.eq(queue.o.valid),
                    stalls.wait_load.eq(behind[0]),
                    stalls.wait_compute.eq(behind[1]),
                    stalls.wait_store.eq(behind[2]),
                    under_way.i.payload.eq(Cat(head.layer[:8], head.layer_end[0])),
                    under_way.i.valid.eq(leaves),
                    under_way.o.ready.eq(engine.done),
                    self.layer.eq(under_way.o.payload[:8]),
                    self.layer_done.eq(engine.done & under_way.o.payload[8]),
                ]

        m.d.comb += [
            fetch.start.eq(self.start),
            fetch.base.eq(self.bases[Region.PROGRAM]),
            fetch.length.eq(self.length),
            self.fault.eq(fetch.fault),
            self.index.eq(fetch.index),
            load.bases.eq(self.bases),
            store.bases.eq(self.bases),
            store.request_done.eq(self.store_done),
            self.load_busy.eq(load.busy),
            self.compute_busy.eq(compute.busy),
            self.store_busy.eq(store.busy),
            stalls.step.eq(compute.step),
            stalls.held.eq(compute.held),
            stalls.full_load.eq(fetch.load.valid & ~fetch.load.ready),
            stalls.full_store.eq(fetch.store.valid & ~fetch.store.ready),
            stalls.storing.eq(~idle[ENGINES.index(Opcode.STORE)]),
            self.stepping.eq(stalls.stepping),
            self.stalls.eq(stalls.stalls),
        ]
        wiring.connect(m, fetch.request, wiring.flipped(self.fetch_request))
        wiring.connect(m, wiring.flipped(self.fetch_data), fetch.data)
        wiring.connect(m, load.request, wiring.flipped(self.load_request))
        wiring.connect(m, wiring.flipped(self.load_data), load.data)
        wiring.connect(m, store.request, wiring.flipped(self.store_request))
        wiring.connect(m, store.data, wiring.flipped(self.store_data))

        # The last commands may still be on their way into a queue or an engine when the END comes.
        ended = Signal()
        settle = Signal(3)
        m.d.comb += [stalls.ended.eq(ended), self.done.eq(ended & settle.all())]
        with m.If(fetch.end):
            m.d.sync += ended.eq(1)
        with m.If(~ended | fetch.busy | ~idle.all()):
            m.d.sync += settle.eq(0)
        with m.Else():
            m.d.sync += settle.eq((settle << 1) | 1)
        with m.If(self.done | self.start):
            m.d.sync += [ended.eq(0), settle.eq(0)]

        for user, port in (
            (compute.act_read, act.read),
            (compute.act_drain, act.drain),
            (load.act, act.load),
            (store.act, act.store),
            (compute.weight, weight.read),
            (compute.param, param.read),
            (load.weight, weight.write),
            (load.param, param.write),
        ):
            wiring.connect(m, user, port)
        m.d.comb += compute.act.eq(act.read_data)
        return m
