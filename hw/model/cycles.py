"""How many cycles a program takes, before any RTL runs: a model of engines and their waits.

The model reads the command stream and plays four things that work side by side: command fetch, load
engine, compute engine and store engine. A command starts when its engine is free, the command has
been fetched, and all commands that it waits for are complete. Descriptors and loads come over one
bus, in the order of their requests.

The fields of a command say how long it takes. Two things add to that. Loads and stores of
activations wait for their banks (:mod:`hw.model.bank_waits`). Loads and stores that move at the
same time share the memory (:mod:`hw.model.pace`).
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hw.contract import timing
from hw.contract.isa import (
    DESCRIPTOR_BYTES,
    Command,
    Compute,
    Load,
    Memory,
    Opcode,
    Store,
    Unit,
    read_commands,
)
from hw.contract.memory_timing import MemoryTiming
from hw.contract.program import Program
from hw.contract.words import word_beats
from hw.model.bank_waits import DrainedWords, ReadWords, loaded, stored
from hw.model.layer_log import LayerLog, log_estimates
from hw.model.pace import Pace, beat_cycles
from hw.model.results import CycleEstimate
from hw.model.timeline import Timeline

__all__ = ["estimate_cycles"]


def estimate_cycles(program: Program, memory: MemoryTiming | None = None) -> CycleEstimate:
    """The cycles of one run, which has all images of the program's batch."""
    return _Model(program, memory or MemoryTiming()).run()


@dataclass(eq=False)
class _Transfer:
    """A descriptor or a load that was requested on the bus."""

    beats: int
    done: Callable[[], None]
    load: Load | None = None
    #: Times: the earliest possible first beat, the first beat, the last beat.
    ready: float = 0.0
    begin: float = 0.0
    end: float = 0.0


class _Model(Timeline):
    def __init__(self, program: Program, memory: MemoryTiming):
        super().__init__(now=-timing.START_CYCLES)
        self.program = program
        self.config = program.config
        self.memory = memory
        self.beat_cycles = beat_cycles(self.config, memory)
        self.commands = read_commands(program.commands)
        self.layers = [LayerLog() for _ in program.layers]
        self.moved = {Opcode.LOAD: 0, Opcode.STORE: 0}
        #: Begin, end and beats of each load and store.
        self.transfers: list[tuple[float, float, int]] = []
        #: For each engine: when its commands were complete, when it is free, and its queue of
        #: commands, each with the time when it has come through.
        self.finished: dict[Opcode, list[float]] = {
            opcode: [] for opcode in (Opcode.LOAD, Opcode.COMPUTE, Opcode.STORE)
        }
        self.free = dict.fromkeys(self.finished, 0.0)
        #: Times at which an engine tries again to start its next command.
        self.starting: dict[Opcode, set[float]] = {opcode: set() for opcode in self.finished}
        self.queues: dict[Opcode, deque[tuple[float, Command]]] = {
            opcode: deque() for opcode in self.finished
        }
        #: Number of descriptors requested; those that have come, each with the time when it has
        #: been checked; when the last one was handed on; since when the next one's queue is full.
        self.asked = 0
        self.checked: deque[tuple[float, Command]] = deque()
        self.handed = 0.0
        self.blocked: float | None = None
        #: Requests on the bus, in order; the time of the last request; the time of the last beat.
        self.bus: deque[_Transfer] = deque()
        self.requested = -math.inf
        self.bus_free = 0.0
        #: Words that the drain writes; old entries are dropped.
        self.drains: deque[DrainedWords] = deque()
        #: Words that the array reads; old entries are dropped. The store under way, with its begin;
        #: when it will be complete.
        self.reads: deque[ReadWords] = deque()
        self.storing: tuple[Store, float] | None = None
        self.stored = 0.0
        #: (begin, end) of loads and stores; old entries are dropped.
        self.moving: dict[Opcode, deque[tuple[float, float]]] = {
            opcode: deque() for opcode in self.moved
        }
        self._latency = {unit: timing.result_latency(self.config, unit) for unit in Unit}
        #: Cycles from a descriptor's last beat to its queue.
        self.check = timing.check_cycles(self.config)
        #: The time until which the array's steps and waits are known. The last group: its last
        #: step, the fewest cycles from it to the next group's last step, and its unit.
        self.stepped = self.group_end = 0.0
        self.spacing = 0
        self.unit = Unit.ARRAY
        #: (engine, begin, end): when that engine's full queue held up the fetch.
        self.full: list[tuple[str, float, float]] = []
        self.descriptor_beats = DESCRIPTOR_BYTES * 8 // self.config.axi_beat_bits

    def run(self) -> CycleEstimate:
        for _ in range(timing.DESCRIPTORS_AHEAD):
            self.at(-timing.START_CYCLES, self._fetch)
        self.play()
        last = {opcode: max(ends, default=0.0) for opcode, ends in self.finished.items()}
        done = max([self.handed, *last.values()]) + timing.DONE_CYCLES
        if self.layers:
            waits = [("fetch", self.handed), ("store", last[Opcode.STORE]), ("other", done)]
            self._wait(self.layers[-1].waiting, waits)
        beat_bytes = self.config.axi_beat_bits // 8
        return CycleEstimate(
            cycles=round(done),
            layers=tuple(
                log_estimates(self.program.layers, self.layers, self.transfers, beat_bytes)
            ),
            read_bytes=self.moved[Opcode.LOAD] * beat_bytes + len(self.program.commands),
            written_bytes=self.moved[Opcode.STORE] * beat_bytes,
        )

    # Command fetch --------------------------------------------------------------------------------

    def _fetch(self):
        """Asks for the next descriptor."""
        if self.asked == len(self.commands):
            return
        command = self.commands[self.asked]
        self.asked += 1

        def arrived():
            self.checked.append((self.now + self.check, command))
            self._hand_on()

        transfer = _Transfer(self.descriptor_beats, arrived)
        self.at(self.now + timing.FETCH_REQUEST_CYCLES, lambda: self._ask(transfer))

    def _hand_on(self):
        """Hands the next descriptor to its engine's queue, as soon as there is room."""
        if not self.checked:
            return
        checked, command = self.checked[0]
        ready = max(checked, self.handed + self.check - 1)
        if ready > self.now:
            self.at(ready, self._hand_on)
            return
        opcode = command.opcode
        if opcode is not Opcode.END:
            if len(self.queues[opcode]) == timing.QUEUED_COMMANDS:
                self.blocked = self.now if self.blocked is None else self.blocked
                return
            self.queues[opcode].append((self.now + timing.QUEUE_CYCLES, command))
            self.at(self.now + timing.QUEUE_CYCLES, lambda: self._start(opcode))
            self._fetch()
        if self.blocked is not None and self.now > self.blocked:
            self.full.append((opcode.name.lower(), self.blocked, self.now))
        self.blocked = None
        self.checked.popleft()
        self.handed = self.now
        self._hand_on()

    # The bus of descriptors and loads -------------------------------------------------------------

    def _ask(self, transfer: _Transfer):
        self.requested = max(self.now, self.requested + timing.REQUEST_INTERVAL)
        transfer.ready = self.requested + self.memory.read_latency + timing.READ_PATH_CYCLES
        self.bus.append(transfer)
        if len(self.bus) == 1:
            self._serve()

    def _serve(self):
        """Begins the first transfer: its beats come next."""
        transfer = self.bus[0]
        transfer.begin = max(transfer.ready, self.bus_free)
        if transfer.load is not None:
            self.moving[Opcode.LOAD].append((transfer.begin, math.inf))
            self._expect_stored()
        self._expect_end()

    def _expect_end(self):
        """Computes when the first transfer's last beat comes, from the writes known so far."""
        transfer = self.bus[0]
        if transfer.load is not None and transfer.load.memory == Memory.ACT:
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
            # Nothing to do if a later forecast has replaced this one.
            if self.bus and self.bus[0] is transfer and transfer.end == end:
                self.bus_free = end
                self.bus.popleft()
                if transfer.load is not None:
                    self.transfers.append((transfer.begin, end, transfer.beats))
                    self._moved_until(Opcode.LOAD, end)
                    self._expect_stored()
                if self.bus:
                    self._serve()
                transfer.done()

        self.at(end, served)

    def _expect_loaded(self):
        """Computes anew when the load under way ends."""
        if self.bus and self.bus[0].begin and self.bus[0].load is not None:
            self._expect_end()

    def _pace(self, opcode: Opcode, beats: float, begin: float) -> Pace:
        """The pace of a transfer from ``begin`` on, whose words have ``beats`` beats."""
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
        visible, command = queue[0]
        waits = [("fetch", visible)]
        for engine, ends in self.finished.items():
            number = command.waits_for(engine)
            if number > len(ends):
                return
            if number:
                cause = "drain" if engine is Opcode.COMPUTE else engine.name.lower()
                waits.append((cause, ends[number - 1] + timing.REACHED_CYCLES[opcode]))
        begin = max(self.free[opcode] + 1, *(until for _, until in waits))
        if begin > self.now:
            # An engine whose end is not known yet starts the next command itself.
            if begin < math.inf and begin not in self.starting[opcode]:
                self.starting[opcode].add(begin)
                self.at(begin, lambda: self._start_again(opcode))
            return
        queue.popleft()
        layer = command.layer
        match opcode:
            case Opcode.LOAD:
                self._load(command)
            case Opcode.COMPUTE:
                self._wait(self.layers[layer].waiting, waits)
                end = self._compute(command)
                self.layers[layer].end = end
                self.at(end, lambda: self._complete(opcode))
                self.at(self.free[opcode] + 1, lambda: self._start(opcode))
            case Opcode.STORE:
                self._store(command)
        self.at(self.now + 1, self._hand_on)

    def _start_again(self, opcode: Opcode):
        self.starting[opcode].discard(self.now)
        self._start(opcode)

    def _complete(self, opcode: Opcode):
        self.finished[opcode].append(self.now)
        for engine in self.finished:
            self.at(self.now + 1, lambda engine=engine: self._start(engine))

    def _wait(self, waiting: dict[str, float], waits: list[tuple[str, float]]):
        """Adds the array's stalls since its last step. ``waits`` are (cause, until), in order."""
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

    def _load(self, command: Load):
        begin = self.now
        beats = command.rows * command.beats
        self.moved[Opcode.LOAD] += beats
        self.free[Opcode.LOAD] = math.inf

        def loaded():
            self.at(self.now + timing.LOAD_WRITE_CYCLES, written)

        def written():
            self._moved(Opcode.LOAD, command, begin)

        transfer = _Transfer(beats, loaded, command)
        self.at(begin + timing.LOAD_REQUEST_CYCLES, lambda: self._ask(transfer))

    def _store(self, command: Store):
        begin = self.now
        self.moved[Opcode.STORE] += command.rows * command.beats
        self.free[Opcode.STORE] = math.inf
        self.storing = command, begin
        self.moving[Opcode.STORE].append((begin + timing.STORE_READ_CYCLES, math.inf))
        self._expect_stored()
        self._expect_loaded()

    def _expect_stored(self):
        """Computes when the store under way ends, from the array's reads known so far."""
        if self.storing is None:
            return
        command, begin = self.storing
        first = begin + timing.STORE_READ_CYCLES
        while self.reads and self.reads[0].end < first:
            self.reads.popleft()
        pace = self._pace(Opcode.STORE, command.beats / command.words, first)
        last = stored(self.config, command, first, pace, self.reads)
        end = self.stored = pace.end(last, 1) + timing.STORE_END_CYCLES + self.memory.write_latency

        def complete():
            # Nothing to do if a later forecast has replaced this one.
            if self.storing is not None and self.stored == end:
                self.storing = None
                self.transfers.append((first, last, command.rows * command.beats))
                self._moved_until(Opcode.STORE, last)
                self._expect_loaded()
                self._moved(Opcode.STORE, command, begin)

        self.at(end, complete)

    def _moved(self, opcode: Opcode, command: Load | Store, begin: float):
        if self.layers:
            layer = self.layers[command.layer]
            if opcode is Opcode.LOAD:
                layer.load += self.now - begin
            else:
                layer.store += self.now - begin
            layer.works(command, begin, self.now)
        self.free[opcode] = self.now
        self._complete(opcode)

    def _compute(self, command: Compute) -> float:
        """Adds steps and stalls of the array to the layer. Returns when the results are written."""
        layer = self.layers[command.layer]
        pixels, drain = command.pixels, command.drain_cycles
        steps = command.channel_groups * command.kernel_h * command.kernel_w
        groups = -(-command.positions // pixels)
        total = groups * command.filter_groups
        interval = max(steps, drain)
        unit = Unit(command.unit)
        first = self.now + timing.FIRST_GROUP_CYCLES + pixels
        # A unit with another latency waits until everything is written.
        written = self.group_end + self._latency[self.unit] + self.spacing
        start = max(first, self.stepped, written if unit is not self.unit else 0.0)
        self._wait(layer.waiting, [("other", first), ("drain", start)])
        # The first group's last step keeps its distance from the group before.
        end_first = max(start + steps, self.group_end + self.spacing)
        last = command.positions - (groups - 1) * pixels
        end = end_first + (total - 1) * interval
        self._wait(layer.waiting, [("drain", end - total * steps)])
        self.free[Opcode.COMPUTE] = end - interval if total > 1 else start
        self.stepped = self.group_end = end
        self.spacing, self.unit = drain, unit
        layer.array += total * steps
        latency = self._latency[unit]
        self.drains.append(DrainedWords(self.config, command, end_first + latency, interval))
        self.reads.append(ReadWords(self.config, command, start, end_first - 1, interval))
        self._expect_loaded()
        self._expect_stored()
        drained = self.config.drain_turns(last) * command.chunks
        written = end + latency + drained
        layer.works(command, start, written)
        return written
