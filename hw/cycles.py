"""How many cycles a program will take, before any RTL runs: a model of engines and their waits.

It reads the command stream and plays the four units that work side by side: command fetch, load,
compute and store engine. Commands start when the one before has left the engine, what they wait for
is complete and they have been fetched. Within a command nothing is simulated: a command's duration
follows from its counts.
"""

from collections import deque
from dataclasses import dataclass

from hw.array.array import array_latency
from hw.array.svpe import pe_latency
from hw.config import AcceleratorConfig
from hw.control.fetch import check_cycles
from hw.control.stalls import Stall
from hw.isa import DESCRIPTOR_BYTES, Opcode, Unit, unpack
from hw.memory.activations import ActivationMemory
from hw.post.drain import Drain
from hw.program import Program

__all__ = ["CycleEstimate", "LayerEstimate", "MemoryModel", "estimate_cycles"]

#: Descriptors that are fetched ahead, and commands that wait in each engine's queue.
_FETCHED_AHEAD = 2
_QUEUE = 4
#: Cycles from start to the first request, through a queue, from a load's command to its request
#: and from its last beat to the memory.
_START, _QUEUED, _REQUEST, _PACK = 8, 3, 8, 6
#: From a command to its first group, less the positions of that group.
_WALK = 3
#: From a group's last step to its unit's first register, and from the last write to ``done``.
_STEP, _DONE = 1, -1
_STORE_BEGIN, _STORE_END = ActivationMemory.latency + 9, 6


@dataclass(frozen=True, kw_only=True)
class MemoryModel:
    """Memory behind the AXI ports, in cycles of the accelerator."""

    read_latency: int = 32
    write_latency: int = 16
    #: All ports and both directions together; 0 for as much as the ports carry.
    bytes_per_cycle: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LayerEstimate:
    """One layer. ``cycles`` run from the end of the layer before (in order of completion).

    ``array`` are steps; ``load`` and ``store`` cycles in which those engines work for the layer.
    ``waiting`` are the cycles in which the array stood still before and in the layer, and behind
    the last one, by the names of :class:`hw.control.stalls.Stall`. All layers' ``array`` and
    ``waiting`` make up the run's cycles but for rounding.
    """

    name: str
    macs: int
    cycles: int
    array: int
    load: int
    store: int
    waiting: dict[str, int]

    def utilization(self, config: AcceleratorConfig) -> float:
        """Nominal multiply-accumulates per lane and cycle."""
        return self.macs / (max(1, self.cycles) * config.multiplies_per_cycle)


@dataclass(frozen=True, kw_only=True)
class CycleEstimate:
    """A whole run, from start to done."""

    cycles: int
    layers: tuple[LayerEstimate, ...]
    read_bytes: int
    written_bytes: int

    @property
    def stalls(self) -> dict[str, int]:
        """Cycles in which the array stood still, by cause, of all layers."""
        names = [cause.name.lower() for cause in Stall]
        return {name: sum(layer.waiting.get(name, 0) for layer in self.layers) for name in names}


def estimate_cycles(program: Program, memory: MemoryModel | None = None) -> CycleEstimate:
    """The cycles of one run: of all images of the program's batch."""
    return _Model(program, memory or MemoryModel()).run()


class _Model:
    def __init__(self, program: Program, memory: MemoryModel):
        self.program = program
        self.config = program.config
        self.memory = memory
        beat = self.config.axi_beat_bits / 8
        #: Cycles that a beat takes on its way.
        self.beat = max(1.0, beat / memory.bytes_per_cycle) if memory.bytes_per_cycle else 1.0
        self.finished = {opcode: [] for opcode in (Opcode.LOAD, Opcode.COMPUTE, Opcode.STORE)}
        #: When each engine's queued commands leave their queue.
        self.taken = {opcode: deque() for opcode in self.finished}
        self.free = dict.fromkeys(self.finished, 0.0)
        self.array = array_latency(self.config)
        #: From a descriptor's last beat to its queue.
        self.check = check_cycles(self.config)
        #: When the walker and the sequencer are done with the last command, the last group's last
        #: step and its unit.
        self.walked = self.stepped = self.group_end = 0.0
        self.spacing = 0
        self.unit = Unit.ARRAY
        #: When fetching was held up by a queue that was full: (engine, from, until).
        self.full: list[tuple[str, float, float]] = []
        #: When the last load's beats have come.
        self.read_bus = 0.0
        self.descriptor_beats = DESCRIPTOR_BYTES * 8 // self.config.axi_beat_bits

    def run(self) -> CycleEstimate:
        commands = [
            unpack(self.program.commands[at : at + DESCRIPTOR_BYTES])
            for at in range(0, len(self.program.commands), DESCRIPTOR_BYTES)
        ]
        layers = [
            {"array": 0, "load": 0.0, "store": 0.0, "waiting": {}} for _ in self.program.layers
        ]
        ends = [0.0] * len(layers)
        arrival, arrivals = float(_START), deque()
        handed = 0.0
        moved = {Opcode.LOAD: 0, Opcode.STORE: 0}
        for fields in commands:
            arrival = self._fetched(arrival, arrivals)
            handed = max(arrival + self.check, handed + 3)
            opcode = Opcode(fields["opcode"])
            if opcode is Opcode.END:
                break
            queue = self.taken[opcode]
            if len(queue) == _QUEUE and (free := queue.popleft()) > handed:
                self.full.append((opcode.name.lower(), handed, free))
                handed = free
            begin, waits = self._begin(opcode, handed + _QUEUED, fields)
            queue.append(begin)
            if opcode is Opcode.COMPUTE:
                layer = fields["layer"]
                self._wait(layers[layer]["waiting"], waits)
                ends[layer] = end = self._compute(begin, fields, layers[layer])
            else:
                beats = fields["rows"] * fields["beats"]
                moved[opcode] += beats
                end = self._transfer(opcode, begin, fields, beats)
                if layers:
                    layers[fields["layer"]][opcode.name.lower()] += end - begin
                self.free[opcode] = end
            self.finished[opcode].append(end)
        last = {opcode: max(ends, default=0.0) for opcode, ends in self.finished.items()}
        done = max([handed, *last.values()]) + 6
        if layers:
            waiting = layers[-1]["waiting"]
            self._wait(waiting, [("fetch", handed), ("store", last[Opcode.STORE]), ("other", done)])
        beat_bytes = self.config.axi_beat_bits // 8
        return CycleEstimate(
            cycles=round(done),
            layers=tuple(self._layers(layers, ends)),
            read_bytes=moved[Opcode.LOAD] * beat_bytes + len(self.program.commands),
            written_bytes=moved[Opcode.STORE] * beat_bytes,
        )

    def _layers(self, layers: list[dict], ends: list[float]):
        before = 0.0
        for described, values, end in zip(self.program.layers, layers, ends, strict=True):
            yield LayerEstimate(
                name=described.name,
                macs=described.macs,
                cycles=round(end) - round(before),
                array=values["array"],
                load=round(values["load"]),
                store=round(values["store"]),
                waiting={cause: round(cycles) for cause, cycles in values["waiting"].items()},
            )
            before = end

    def _fetched(self, previous: float, arrivals: deque) -> float:
        """When the next descriptor is complete in the fetch unit."""
        requested = arrivals.popleft() if len(arrivals) == _FETCHED_AHEAD else float(_START)
        first = requested + self.memory.read_latency + 7
        arrived = max(first, previous) + self.descriptor_beats * self.beat
        arrivals.append(arrived + self.check)
        return arrived

    def _begin(
        self, opcode: Opcode, fetched: float, fields: dict
    ) -> tuple[float, list[tuple[str, float]]]:
        """When a command may leave its queue, and until when it waits for what."""
        waits = [("fetch", fetched)]
        for engine, ends in self.finished.items():
            count = fields[f"wait_{engine.name.lower()}"]
            if count:
                cause = "drain" if engine is Opcode.COMPUTE else engine.name.lower()
                waits.append((cause, ends[count - 1] + 1))
        free = (self.walked if opcode is Opcode.COMPUTE else self.free[opcode]) + 1
        return max(free, *(until for _, until in waits)), waits

    def _wait(self, waiting: dict[str, float], waits: list[tuple[str, float]]):
        """Adds what the array stands still for, one thing after the other, since its last step."""
        now = self.stepped
        for cause, until in waits:
            if cause == "fetch":
                for engine, begin, end in self.full:
                    begin, end = max(begin, now), min(end, until)
                    if end > begin:
                        waiting[engine] = waiting.get(engine, 0.0) + end - begin
                        waiting[cause] = waiting.get(cause, 0.0) - (end - begin)
                self.full.clear()
            if until > now:
                waiting[cause] = waiting.get(cause, 0.0) + until - now
                now = until
        self.stepped = now

    def _transfer(self, opcode: Opcode, begin: float, fields: dict, beats: int) -> float:
        if opcode is Opcode.LOAD:
            start = max(begin + _REQUEST + self.memory.read_latency, self.read_bus)
            # The descriptor that is fetched when a load leaves its queue comes before its beats.
            self.read_bus = start + (beats + self.descriptor_beats) * self.beat
            return self.read_bus + _PACK
        words = fields["rows"] * fields["words"]
        moving = max(beats * self.beat, words)
        return begin + _STORE_BEGIN + moving + self.memory.write_latency + _STORE_END

    def _compute(self, begin: float, fields: dict, layer: dict) -> float:
        """When the results are written; steps and stalls of the array are added to the layer."""
        pixels, drain = fields["pixels"], fields["drain_cycles"]
        steps = fields["channel_groups"] * fields["kernel_h"] * fields["kernel_w"]
        groups = -(-fields["positions"] // pixels)
        total = groups * fields["filter_groups"]
        interval = max(steps, drain)
        unit = Unit(fields["unit"])
        first = begin + _WALK + pixels
        # Units of another latency wait until everything is written.
        written = self.group_end + self._latency(self.unit) + self.spacing
        start = max(first, self.stepped, written if unit is not self.unit else 0.0)
        self._wait(layer["waiting"], [("other", first), ("drain", start)])
        # The first group's last step keeps its distance from the group before.
        end_first = max(start + steps, self.group_end + self.spacing)
        last = fields["positions"] - (groups - 1) * pixels
        end = end_first + (total - 1) * interval
        self._wait(layer["waiting"], [("drain", end - total * steps)])
        self.walked = end - min(steps, interval) if total > 1 else start
        self.stepped = self.group_end = end
        self.spacing, self.unit = drain, unit
        layer["array"] += total * steps
        drained = self.config.drain_turns(last) * fields["chunks"]
        return end + self._latency(unit) + drained

    def _latency(self, unit: Unit) -> int:
        inside = {Unit.ARRAY: self.array, Unit.SUM: pe_latency(1), Unit.MAX: 2}[unit]
        return _STEP + ActivationMemory.latency + inside + Drain.latency + _DONE
