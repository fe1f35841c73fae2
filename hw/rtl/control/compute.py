"""The compute engine: runs one layer command on the array or a channel-wise unit."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Opcode, Unit
from hw.contract.words import table_word_bits
from hw.rtl.array.array import PeArray
from hw.rtl.array.hybrid import HybridArray
from hw.rtl.array.vector_max import VectorMax
from hw.rtl.array.vector_sum import VectorSum
from hw.rtl.cells.counting import stepped
from hw.rtl.cells.delay import delayed
from hw.rtl.command_layouts import body_layout, drain_command_layout
from hw.rtl.component import Component
from hw.rtl.control.group_walker import GroupWalker
from hw.rtl.control.sequencer import StepSequencer, drain_layout
from hw.rtl.control.walker import PositionWalker
from hw.rtl.memory.activations import ActivationMemory
from hw.rtl.memory.ports import (
    ActDrainSignature,
    ActReadSignature,
    WideReadSignature,
    WideWriteSignature,
    word_layout,
)
from hw.rtl.memory.wide import WideMemory
from hw.rtl.post.drain import Drain
from hw.rtl.post.requantizer import param_layout
from hw.rtl.stream.fifo import StreamFifo

__all__ = ["ComputeEngine"]

#: Groups that may be between sequencer and drain. The array's latency never holds so many, be it
#: without or with pixels in cascades of DSP blocks.
_GROUPS_UNDER_WAY = (32, 64)
#: Commands that may be between sequencer and drain. More than one needs commands of few steps.
_COMMANDS_WAITING = (4, 16)


class ComputeEngine(Component):
    """Walker, sequencer, array, channel-wise units and drain, joined to the on-chip memories.

    A command is taken as soon as the one before has been walked over. So commands follow each other
    on the array without a gap. (The gap is ``pixels + 3`` cycles after a command whose last group
    has a single step.) ``done`` follows a command's last step by the latencies of memory, array and
    drain.

    Members
    -------
    command : ``In(stream.Signature(body_layout(Opcode.COMPUTE)))``
    done : ``Out(1)``, high for one cycle for each command, in their order: its results are in the
        activation memory
    busy : ``Out(1)``, a command runs
    step : ``Out(1)``, one cycle ago the array took a step
    held : ``Out(1)``, one cycle ago there were positions for a step
    act_read : ``Out(ActReadSignature(config))``
    act : ``In``, the words that are read
    act_drain : ``Out(ActDrainSignature(config))``
    weight, param : ``Out(WideReadSignature(...))``, of a word of either memory
    table : ``In(WideWriteSignature(...))``, words of the table, where the configuration has tables
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        slow = config.dsp_pixels > 0 and not config.quads
        self._groups, self._waiting = _GROUPS_UNDER_WAY[slow], _COMMANDS_WAITING[slow]
        #: More commands than can be between acceptance and ``done``. One is walked over, one takes
        #: steps, some wait for the drain, one is drained, and some are on their way to the memory.
        self.commands_under_way = self._waiting + 11
        super().__init__({
            "command": In(stream.Signature(body_layout(Opcode.COMPUTE))),
            "done": Out(1),
            "busy": Out(1),
            "step": Out(1),
            "held": Out(1),
            "act_read": Out(ActReadSignature(config)),
            "act": In(data.ArrayLayout(word_layout(config), config.read_words)),
            "act_drain": Out(ActDrainSignature(config)),
            "weight": Out(WideReadSignature(config.weight_word_bits)),
            "param": Out(
                WideReadSignature(data.ArrayLayout(param_layout(config), config.post_lanes))
            ),
            **(
                {"table": In(WideWriteSignature(table_word_bits(config)))}
                if config.tables
                else {}
            ),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c = self.config
        walker = PositionWalker(c) if c.post_positions == 1 else GroupWalker(c)
        sequencer, drain = StepSequencer(c), Drain(c)
        groups = StreamFifo(drain_layout(c), self._groups)
        commands = StreamFifo(drain_command_layout(), self._waiting)
        for name, component in (
            ("walker", walker),
            ("sequencer", sequencer),
            ("drain", drain),
            ("groups", groups),
            ("commands", commands),
        ):
            m.submodules[name] = component
        wiring.connect(m, walker.groups, sequencer.groups)
        wiring.connect(m, sequencer.drain_commands, commands.i)
        wiring.connect(m, commands.o, drain.commands)
        wiring.connect(m, sequencer.drains, groups.i)
        wiring.connect(m, groups.o, drain.drains)
        wiring.connect(m, sequencer.read, wiring.flipped(self.act_read))
        wiring.connect(m, drain.write, wiring.flipped(self.act_drain))
        wiring.connect(m, drain.param, wiring.flipped(self.param))
        if c.tables:
            wiring.connect(m, wiring.flipped(self.table), drain.table)
        m.d.comb += [
            sequencer.drain_room.eq(groups.roomy),
            self.step.eq(sequencer.valid),
            self.held.eq(sequencer.held),
            self.done.eq(drain.command_done),
        ]
        self._accept(m, walker, sequencer)
        # Groups whose steps are done and that are not yet written.
        pending = Signal(range(self._groups * 2))
        m.d.sync += pending.eq(stepped(pending, groups.i.valid & groups.i.ready, drain.group_done))
        m.d.comb += sequencer.pending.eq(pending != 0)
        self._compute(m, sequencer, drain)
        return m

    def _accept(
        self, m: Module, walker: PositionWalker | GroupWalker, sequencer: StepSequencer
    ) -> None:
        """Takes a command when the one before has been walked over."""
        command = Signal(body_layout(Opcode.COMPUTE))
        start = Signal()
        walking = Signal()
        walked = Signal()
        accepted = Signal()
        m.d.comb += [
            walked.eq(walker.groups.valid & walker.groups.ready & walker.groups.p.end),
            self.command.ready.eq(~walking),
            accepted.eq(self.command.valid & self.command.ready),
            walker.start.eq(start),
            walker.command.eq(command),
            sequencer.command.eq(command),
        ]
        m.d.sync += start.eq(accepted)
        with m.If(accepted):
            m.d.sync += walking.eq(1)
            m.d.data += command.eq(self.command.payload)
        with m.Elif(walked):
            m.d.sync += walking.eq(0)
        # Commands that were taken and are not yet written.
        under_way = Signal(range(self.commands_under_way + 1))
        m.d.sync += under_way.eq(stepped(under_way, accepted, self.done))
        m.d.comb += self.busy.eq(under_way != 0)

    def _compute(self, m: Module, sequencer: StepSequencer, drain: Drain) -> None:
        """Joins the sequencer's steps to the array and the channel-wise units.

        Weights and flags are delayed, because the activation memory takes longer.
        """
        array = HybridArray(self.config) if self.config.dsp_pixels else PeArray(self.config)
        m.submodules.array = array
        m.submodules.maximum = maximum = VectorMax(self.config)
        m.submodules.sums = sums = VectorSum(self.config)
        wait = ActivationMemory.latency
        ahead = wait - WideMemory.latency
        names, values = ("weight_address",), (sequencer.weight_address,)
        (address,) = delayed(m, names, values, ahead, domain="data")
        # Whose step it is is found a cycle before: it enables every register of a unit.
        (soon_valid,) = delayed(m, ("valid",), (sequencer.valid,), wait - 1)
        (soon_unit,) = delayed(m, ("unit",), (sequencer.unit,), wait - 1, domain="data")
        names = ("first", "last", "grow")
        flags = [getattr(sequencer, name) for name in names]
        first, last, grow = delayed(m, names, flags, wait, domain="data", far=True)
        factor = []
        if self.config.products:
            flags = (Value.cast(sequencer.factor),)
            factor = [
                Value.cast(sums.factor).eq(late)
                for late in delayed(m, ("factor",), flags, wait, domain="data", far=True)
            ]
        soon = []
        for unit, code in ((array, Unit.ARRAY), (maximum, Unit.MAX), (sums, Unit.SUM)):
            valid = Signal(name=f"{code.name.lower()}_valid")
            m.d.sync += valid.eq(soon_valid & (soon_unit == code))
            m.d.comb += [
                unit.valid.eq(valid),
                unit.first.eq(first),
                unit.last.eq(last),
                Value.cast(unit.act).eq(self.act),
            ]
            # The drain is told two cycles ahead.
            ends = (f"{code.name.lower()}_ends",)
            soon += delayed(m, ends, (unit.valid & unit.last,), unit.latency - 2)
        m.d.comb += [
            self.weight.address.eq(address),
            Value.cast(array.weight).eq(self.weight.data),
            Value.cast(sums.weight).eq(self.weight.data),
            sums.grow.eq(grow),
            *factor,
            drain.result_soon.eq(Cat(*soon).any()),
            drain.acc.eq(array.acc),
            drain.max.eq(maximum.max),
            drain.sum.eq(sums.sum),
        ]
