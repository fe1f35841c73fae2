"""How many cycles a program will take, before any RTL runs: a model of engines and their waits.

It reads the command stream and plays the four units that work side by side: command fetch, load,
compute and store engine. Commands start when the one before has left the engine, what they wait for
is complete and they have been fetched. Descriptors and loads come over one bus, in the order in
which they were asked for. Within a command a duration follows from its counts, but for loads and
stores of activations, which wait where the drain writes to their bank or the array reads from it
(:mod:`hw.model.bank_waits`), and for loads beside stores, which share the memory
(:mod:`hw.model.pace`).
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from hw.contract.causes import Stall
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import DESCRIPTOR_BYTES, Memory, Opcode, Unit, unpack
from hw.contract.memory_timing import MemoryTiming
from hw.contract.program import Program
from hw.contract.timing import (
    ACTIVATION_READ_LATENCY,
    array_latency,
    check_cycles,
    drain_latency,
    pe_latency,
)
from hw.contract.words import word_beats
from hw.model.bank_waits import DrainedWords, ReadWords, loaded, stored
from hw.model.pace import Pace, beat_cycles

__all__ = ["CycleEstimate", "LayerEstimate", "estimate_cycles"]

#: Descriptors that are fetched ahead, and commands that wait in each engine's queue.
_FETCHED_AHEAD = 2
_QUEUE = 4
#: Cycles from start, as far as they are counted, to the first request; through a queue; and from a
#: load's last beat to the memory.
_START, _QUEUED, _PACK = -4, 3, 1
#: From a descriptor's turn and from a load's command to the bus, and from there back without the
#: memory's own latency.
_FETCH_REQUEST, _LOAD_REQUEST, _BACK = 2, 4, 9
#: Cycles between two requests over the bus.
_REQUESTS = 3
#: From a command to its first group, less the positions of that group.
_WALK = 3
#: From a group's last step to its unit's first register.
_STEP = 1
#: From a store's command to its first read, and from its last one to where it is written, without
#: the memory's own latency.
_STORE_READ = 3
_STORE_END = ACTIVATION_READ_LATENCY + 15 - _STORE_READ


@dataclass(frozen=True, kw_only=True)
class LayerEstimate:
    """One layer. ``cycles`` run from the end of the layer before (in order of completion).

    ``array`` are steps; ``load`` and ``store`` cycles in which those engines work for the layer.
    ``waiting`` are the cycles in which the array stood still before and in the layer, and behind
    the last one, by the names of :class:`hw.contract.causes.Stall`. All layers' ``array`` and
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


def estimate_cycles(program: Program, memory: MemoryTiming | None = None) -> CycleEstimate:
    """The cycles of one run: of all images of the program's batch."""
    return _Model(program, memory or MemoryTiming()).run()


@dataclass(eq=False)
class _Transfer:
    """What was asked for over the bus: a descriptor, or a load with its fields."""

    beats: int
    done: Callable[[], None]
    load: dict | None = None
    #: When its first beat can be there at the earliest, when it comes, and when the last one has.
    ready: float = 0.0
    begin: float = 0.0
    end: float = 0.0


class _Model:
    def __init__(self, program: Program, memory: MemoryTiming):
        self.program = program
        self.config = program.config
        self.memory = memory
        self.beat_cycles = beat_cycles(self.config, memory)
        self.commands = [
            unpack(program.commands[at : at + DESCRIPTOR_BYTES])
            for at in range(0, len(program.commands), DESCRIPTOR_BYTES)
        ]
        self.layers = [
            {"array": 0, "load": 0.0, "store": 0.0, "waiting": {}} for _ in program.layers
        ]
        self.ends = [0.0] * len(program.layers)
        self.moved = {Opcode.LOAD: 0, Opcode.STORE: 0}
        #: What happens, in the order of time and then of entry.
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.entries = count()
        self.now = float(_START)
        #: When each engine's commands were complete, when it is free, and its queue: commands and
        #: when they have come through it.
        self.finished: dict[Opcode, list[float]] = {
            opcode: [] for opcode in (Opcode.LOAD, Opcode.COMPUTE, Opcode.STORE)
        }
        self.free = dict.fromkeys(self.finished, 0.0)
        self.queues: dict[Opcode, deque[tuple[float, dict]]] = {
            opcode: deque() for opcode in self.finished
        }
        #: Descriptors that were asked for; those that have come and when they have been checked;
        #: when the last one was handed on, and since when the next one's queue is full.
        self.asked = 0
        self.checked: deque[tuple[float, dict]] = deque()
        self.handed = 0.0
        self.blocked: float | None = None
        #: What was asked for over the bus, in this order; when the last time, and when the last
        #: beat was there.
        self.bus: deque[_Transfer] = deque()
        self.requested = -math.inf
        self.bus_free = 0.0
        #: What was written not long ago or will be.
        self.drains: deque[DrainedWords] = deque()
        #: What was read not long ago or will be, and the store that is under way: fields, its
        #: first read, and when it will be complete.
        self.reads: deque[ReadWords] = deque()
        self.storing: tuple[dict, float] | None = None
        self.stored = 0.0
        #: From when to when loads and stores were moved not long ago or will be.
        self.moving: dict[Opcode, deque[tuple[float, float]]] = {
            opcode: deque() for opcode in self.moved
        }
        self.array = array_latency(self.config)
        #: From a descriptor's last beat to its queue.
        self.check = check_cycles(self.config)
        #: What the array does and waits for is known until then; the last group's last step, how
        #: far the next one's must be from it, and its unit.
        self.stepped = self.group_end = 0.0
        self.spacing = 0
        self.unit = Unit.ARRAY
        #: When fetching was held up by a queue that was full: (engine, from, until).
        self.full: list[tuple[str, float, float]] = []
        self.descriptor_beats = DESCRIPTOR_BYTES * 8 // self.config.axi_beat_bits

    def run(self) -> CycleEstimate:
        for _ in range(_FETCHED_AHEAD):
            self._at(_START, self._fetch)
        while self.events:
            self.now, _, happen = heapq.heappop(self.events)
            happen()
        last = {opcode: max(ends, default=0.0) for opcode, ends in self.finished.items()}
        done = max([self.handed, *last.values()]) + 6
        if self.layers:
            waits = [("fetch", self.handed), ("store", last[Opcode.STORE]), ("other", done)]
            self._wait(self.layers[-1]["waiting"], waits)
        beat_bytes = self.config.axi_beat_bits // 8
        return CycleEstimate(
            cycles=round(done),
            layers=tuple(self._estimates()),
            read_bytes=self.moved[Opcode.LOAD] * beat_bytes + len(self.program.commands),
            written_bytes=self.moved[Opcode.STORE] * beat_bytes,
        )

    def _estimates(self) -> Iterator[LayerEstimate]:
        before = 0.0
        for described, values, end in zip(self.program.layers, self.layers, self.ends, strict=True):
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

    def _at(self, time: float, happen: Callable[[], None]):
        heapq.heappush(self.events, (max(time, self.now), next(self.entries), happen))

    # Command fetch --------------------------------------------------------------------------------

    def _fetch(self):
        """Asks for the next descriptor."""
        if self.asked == len(self.commands):
            return
        fields = self.commands[self.asked]
        self.asked += 1

        def arrived():
            self.checked.append((self.now + self.check, fields))
            self._hand_on()

        transfer = _Transfer(self.descriptor_beats, arrived)
        self._at(self.now + _FETCH_REQUEST, lambda: self._ask(transfer))

    def _hand_on(self):
        """Hands the next descriptor to its engine's queue, as soon as there is room."""
        if not self.checked:
            return
        checked, fields = self.checked[0]
        ready = max(checked, self.handed + self.check - 1)
        if ready > self.now:
            self._at(ready, self._hand_on)
            return
        opcode = Opcode(fields["opcode"])
        if opcode is not Opcode.END:
            if len(self.queues[opcode]) == _QUEUE:
                self.blocked = self.now if self.blocked is None else self.blocked
                return
            self.queues[opcode].append((self.now + _QUEUED, fields))
            self._at(self.now + _QUEUED, lambda: self._start(opcode))
            self._fetch()
        if self.blocked is not None and self.now > self.blocked:
            self.full.append((opcode.name.lower(), self.blocked, self.now))
        self.blocked = None
        self.checked.popleft()
        self.handed = self.now
        self._hand_on()

    # The bus of descriptors and loads -------------------------------------------------------------

    def _ask(self, transfer: _Transfer):
        self.requested = max(self.now, self.requested + _REQUESTS)
        transfer.ready = self.requested + self.memory.read_latency + _BACK
        self.bus.append(transfer)
        if len(self.bus) == 1:
            self._serve()

    def _serve(self):
        """The first transfer's beats come."""
        transfer = self.bus[0]
        transfer.begin = max(transfer.ready, self.bus_free)
        if transfer.load is not None:
            self.moving[Opcode.LOAD].append((transfer.begin, math.inf))
            self._expect_stored()
        self._expect_end()

    def _expect_end(self):
        """When the first transfer's last beat comes, as far as it is known what the drain does."""
        transfer = self.bus[0]
        if transfer.load is not None and transfer.load["memory"] == Memory.ACT:
            while self.drains and self.drains[0].end < transfer.begin:
                self.drains.popleft()
            beats = word_beats(self.config, Memory.ACT)
            pace = self._pace(Opcode.LOAD, beats, transfer.begin)
            end = loaded(self.config, transfer.load, transfer.begin, pace, self.drains)
        else:
            pace = self._pace(Opcode.LOAD, 1, transfer.begin)
            end = pace.end(transfer.begin, transfer.beats)
        transfer.end = end

        def served():
            # Unless it takes longer by now.
            if self.bus and self.bus[0] is transfer and transfer.end == end:
                self.bus_free = end
                self.bus.popleft()
                if transfer.load is not None:
                    self._moved_until(Opcode.LOAD, end)
                    self._expect_stored()
                if self.bus:
                    self._serve()
                transfer.done()

        self._at(end, served)

    def _expect_loaded(self):
        """Again, of a load whose beats come."""
        if self.bus and self.bus[0].begin and self.bus[0].load is not None:
            self._expect_end()

    def _pace(self, opcode: Opcode, beats: float, begin: float) -> Pace:
        """Of a transfer from ``begin`` on, whose words have so many beats."""
        others = self.moving[Opcode.STORE if opcode is Opcode.LOAD else Opcode.LOAD]
        while others and others[0][1] < begin:
            others.popleft()
        alone, together = self.beat_cycles[opcode]
        return Pace(max(1.0, beats * alone), max(1.0, beats * together), others)

    def _moved_until(self, opcode: Opcode, end: float):
        begin, _ = self.moving[opcode].pop()
        self.moving[opcode].append((begin, end))

    # Engines --------------------------------------------------------------------------------------

    def _start(self, opcode: Opcode):
        """Starts an engine's next command if nothing is in its way."""
        queue = self.queues[opcode]
        if not queue:
            return
        visible, fields = queue[0]
        waits = [("fetch", visible)]
        for engine, ends in self.finished.items():
            number = fields[f"wait_{engine.name.lower()}"]
            if number > len(ends):
                return
            if number:
                cause = "drain" if engine is Opcode.COMPUTE else engine.name.lower()
                waits.append((cause, ends[number - 1] + 1))
        begin = max(self.free[opcode] + 1, *(until for _, until in waits))
        if begin > self.now:
            # Of the engine that is not free nothing is known: it starts the next one itself.
            if begin < math.inf:
                self._at(begin, lambda: self._start(opcode))
            return
        queue.popleft()
        layer = fields["layer"]
        match opcode:
            case Opcode.LOAD:
                self._load(fields)
            case Opcode.COMPUTE:
                self._wait(self.layers[layer]["waiting"], waits)
                end = self._compute(fields)
                self.ends[layer] = end
                self._at(end, lambda: self._complete(opcode))
                self._at(self.free[opcode] + 1, lambda: self._start(opcode))
            case Opcode.STORE:
                self._store(fields)
        self._at(self.now + 1, self._hand_on)

    def _complete(self, opcode: Opcode):
        self.finished[opcode].append(self.now)
        for engine in self.finished:
            self._at(self.now + 1, lambda engine=engine: self._start(engine))

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

    def _load(self, fields: dict):
        begin = self.now
        beats = fields["rows"] * fields["beats"]
        self.moved[Opcode.LOAD] += beats
        self.free[Opcode.LOAD] = math.inf

        def loaded():
            self._at(self.now + _PACK, written)

        def written():
            self._moved(Opcode.LOAD, fields, begin)

        transfer = _Transfer(beats, loaded, fields)
        self._at(begin + _LOAD_REQUEST, lambda: self._ask(transfer))

    def _store(self, fields: dict):
        begin = self.now
        self.moved[Opcode.STORE] += fields["rows"] * fields["beats"]
        self.free[Opcode.STORE] = math.inf
        self.storing = fields, begin
        self.moving[Opcode.STORE].append((begin + _STORE_READ, math.inf))
        self._expect_stored()
        self._expect_loaded()

    def _expect_stored(self):
        """When the store under way is complete, as far as it is known what the array reads."""
        if self.storing is None:
            return
        fields, begin = self.storing
        first = begin + _STORE_READ
        while self.reads and self.reads[0].end < first:
            self.reads.popleft()
        pace = self._pace(Opcode.STORE, fields["beats"] / fields["words"], first)
        last = stored(self.config, fields, first, pace, self.reads)
        end = self.stored = pace.end(last, 1) + _STORE_END + self.memory.write_latency

        def complete():
            # Unless it takes longer by now.
            if self.storing is not None and self.stored == end:
                self.storing = None
                self._moved_until(Opcode.STORE, last)
                self._expect_loaded()
                self._moved(Opcode.STORE, fields, begin)

        self._at(end, complete)

    def _moved(self, opcode: Opcode, fields: dict, begin: float):
        if self.layers:
            self.layers[fields["layer"]][opcode.name.lower()] += self.now - begin
        self.free[opcode] = self.now
        self._complete(opcode)

    def _compute(self, fields: dict) -> float:
        """When the results are written; steps and stalls of the array are added to the layer."""
        layer = self.layers[fields["layer"]]
        pixels, drain = fields["pixels"], fields["drain_cycles"]
        steps = fields["channel_groups"] * fields["kernel_h"] * fields["kernel_w"]
        groups = -(-fields["positions"] // pixels)
        total = groups * fields["filter_groups"]
        interval = max(steps, drain)
        unit = Unit(fields["unit"])
        first = self.now + _WALK + pixels
        # Units of another latency wait until everything is written.
        written = self.group_end + self._latency(self.unit) + self.spacing
        start = max(first, self.stepped, written if unit is not self.unit else 0.0)
        self._wait(layer["waiting"], [("other", first), ("drain", start)])
        # The first group's last step keeps its distance from the group before.
        end_first = max(start + steps, self.group_end + self.spacing)
        last = fields["positions"] - (groups - 1) * pixels
        end = end_first + (total - 1) * interval
        self._wait(layer["waiting"], [("drain", end - total * steps)])
        self.free[Opcode.COMPUTE] = end - interval if total > 1 else start
        self.stepped = self.group_end = end
        self.spacing, self.unit = drain, unit
        layer["array"] += total * steps
        latency = self._latency(unit)
        self.drains.append(DrainedWords(self.config, fields, end_first + latency, interval))
        self.reads.append(ReadWords(self.config, fields, start, end_first - 1, interval))
        self._expect_loaded()
        self._expect_stored()
        drained = self.config.drain_turns(last) * fields["chunks"]
        return end + latency + drained

    def _latency(self, unit: Unit) -> int:
        inside = {Unit.ARRAY: self.array, Unit.SUM: pe_latency(1), Unit.MAX: 2}[unit]
        return _STEP + ACTIVATION_READ_LATENCY + inside + drain_latency(self.config)
