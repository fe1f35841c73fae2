"""Faults at random times and places, and the check that the run after each of them is right."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hw.compiler import compile_graph
from hw.contract.causes import ErrorCause
from hw.contract.isa import BODIES, CHECKSUM, DESCRIPTOR_BYTES, HEAD, Opcode, Region
from hw.contract.memory_timing import MemoryTiming
from hw.contract.program import Program
from hw.driver import AcceleratorError, Driver, memory_bytes
from nbqnn_train.graph import Graph, Input, MaxPool2d
from tests.hw.networks import Network, images, traced_codes
from tests.hw.runs import DisturbedBus, Model, compare, offset

__all__ = ["KINDS", "FaultBench", "fault_network"]

_START, _RESET = 1, 2
_BUSY, _DONE = 1, 2
_PAGE = 4096
#: Cycles in which a run that goes on for ever is believed to.
_PATIENCE = 20_000
_EVERYTHING = (0, 1 << 40)


def fault_network(act_bits: int, weight_bits: int) -> Graph:
    """Few cycles, but loads, stores and both units; two tensors go out."""
    net = Network(seed=3)
    net.add(Input, "image", shape=(3, 6, 5), bits=act_bits, signed=False, exponent=-act_bits)
    net.conv("conv1", (9, 3, 3, 3), weight_bits, padding=(1, 1, 1, 1))
    net.requantize("act1", act_bits, False)
    net.add(MaxPool2d, "pool", kernel=(2, 2), stride=(2, 2))
    net.conv("conv2", (10, 9, 3, 2), weight_bits)
    net.requantize("logits", act_bits, True)
    return net.graph("logits", "pool")


class FaultBench:
    """One accelerator that faults are injected into, one after the other.

    Parameters
    ----------
    model : Model
    seed : int
    """

    def __init__(self, model: Model, seed: int):
        config = model.config
        graph = fault_network(config.act_bits, config.weight_bits)
        self.rng = np.random.default_rng(seed)
        self.model = model
        self.accelerator = model.accelerator
        self.config = config
        self.program = compile_graph(graph, config)
        self.images = images(graph, 3)
        self.expected = traced_codes(graph, self.images)
        # The last quarter of the memory is nobody's.
        self.accelerator.memory[:] = self.rng.integers(0, 256, len(self.accelerator.memory))
        self.guard = slice(len(self.accelerator.memory) * 3 // 4, None)
        self.kept = self.accelerator.memory[self.guard].copy()
        self.accelerator.clear_faults()
        self.accelerator.set_timing(MemoryTiming(read_latency=1, write_latency=1))
        self._use(self.program)
        #: Cycles that no run is faster than.
        self.least = compare(self.driver, self.images[0], self.expected[0]).cycles - 50

    def inject(self, kind: str) -> str:
        """One fault of a kind; returns what came of it, after a good run."""
        self.accelerator.clear_faults()
        self.accelerator.set_timing(self._timing())
        self._use(self.program)
        outcome = KINDS[kind](self)
        assert self.accelerator.read(offset("status")) & _BUSY == 0, outcome
        self.accelerator.clear_faults()
        assert np.array_equal(self.accelerator.memory[self.guard], self.kept), outcome
        # Some leave the accelerator as it is, for the very same driver; some destroy the program.
        if self.used is not self.program or self._chance():
            self._use(self.program)
        index = int(self.rng.integers(len(self.images)))
        compare(self.driver, self.images[index], self.expected[index])
        assert self.accelerator.read(offset("status")) == _DONE
        return outcome

    # Parts that the kinds are made of ---------------------------------------------------------

    def _use(self, program: Program, max_cycles: int = 1_000_000):
        self.used = program
        self.bus = DisturbedBus(self.accelerator, max_cycles)
        assert memory_bytes(program) < self.guard.start
        self.driver = Driver(self.bus, program)

    def _run(self, happening: Callable[[], bool] | None = None) -> str:
        """A run in which something happens: "right", or its error."""
        self.bus.happening = happening
        try:
            compare(self.driver, self.images[0], self.expected[0])
        except AcceleratorError as error:
            found = re.fullmatch(
                r"the run ended with (error ([A-Z]+)|no interrupt in time) at command (\d+)"
                r"(, address (0x[0-9a-f]+))?(; remedy: .*)?",
                str(error),
            )
            assert found, error
            self.index = int(found[3])
            self.address = int(found[5], 16) if found[5] else None
            return found[2] or "reset"
        return "right"

    def _timing(self) -> MemoryTiming:
        return MemoryTiming(
            read_latency=int(self.rng.choice([1, 2, 20, 150])),
            write_latency=int(self.rng.choice([1, 3, 40, 150])),
            outstanding=int(self.rng.choice([1, 4, 16])),
            stall_rate=float(self.rng.choice([0.0, 0.2, 0.6])),
            seed=int(self.rng.integers(1, 1 << 30)),
        )

    def _chance(self) -> bool:
        return bool(self.rng.integers(2))

    def _cycle(self) -> int:
        """A cycle of a run, before its end whatever the timing."""
        return int(self.rng.integers(0, self.least))

    def _pass(self, cycles: int) -> None:
        self.accelerator.run(cycles, until_interrupt=False)

    def _place(self) -> tuple[Region, int]:
        """A byte that a run moves: region and address."""
        region = Region(self.rng.integers(Region.SCRATCH))
        output = self.program.outputs[int(self.rng.integers(len(self.program.outputs)))]
        begin, size = {
            Region.PROGRAM: (0, len(self.program.commands)),
            Region.PARAMETERS: (0, len(self.program.parameters)),
            Region.INPUT: (0, self.program.inputs[0].layout.host_bytes(self.config)),
            Region.OUTPUT: (output.offset, output.layout.host_bytes(self.config)),
        }[region]
        byte = begin + int(self.rng.integers(size))
        step = self.config.axi_data_width // 8
        beat, within = divmod(byte, step * self.config.axi_ports)
        port, within = divmod(within, step)
        base = self._register(f"{region.name.lower()}_base")
        return region, base + port * self._register("stripe") + beat * step + within

    def _register(self, name: str) -> int:
        low, high = (self.accelerator.read(offset(f"{name}_{half}")) for half in ("low", "high"))
        return low | high << 32

    def _descriptors(self) -> list[bytes]:
        commands = self.program.commands
        size = DESCRIPTOR_BYTES
        return [commands[at : at + size] for at in range(0, len(commands), size)]

    def use_commands(self, descriptors: list[bytes], patience: int = _PATIENCE) -> None:
        """The driver then runs these in place of the program's."""
        self._use(replace(self.program, commands=b"".join(descriptors)), patience)

    def random_command(self, opcode: int) -> bytes:
        """A descriptor of random bits with that opcode and the right sum. Half of them wait for
        nothing: the others mostly wait for what never comes."""
        bits = int.from_bytes(self.rng.bytes(DESCRIPTOR_BYTES), "little")
        bits = bits >> 8 << 8 | opcode
        if self._chance():
            start = 0
            for name, width in HEAD.items():
                if name.startswith("wait_"):
                    bits &= ~((1 << width) - 1 << start)
                start += width
        return _summed(bits.to_bytes(DESCRIPTOR_BYTES, "little"))

    # Kinds ------------------------------------------------------------------------------------

    def _error_response(self) -> str:
        """SLVERR or DECERR on one transfer on one port."""
        region, address = self._place()
        self.accelerator.inject_fault(address, address + 1, response=int(self.rng.choice([2, 3])))
        outcome = self._run()
        if outcome == "right":
            # Bytes between weights and parameters are not read.
            assert region is Region.PARAMETERS
            return outcome
        assert outcome == ("WRITE" if region is Region.OUTPUT else "READ")
        assert 0 <= address - self.address < 16 * self.config.axi_data_width // 8
        return outcome

    def _error_responses_for_a_while(self) -> str:
        """On all transfers from some cycle on, for some time."""
        response = int(self.rng.choice([2, 3]))

        def happening():
            self._pass(self._cycle())
            self.accelerator.inject_fault(*_EVERYTHING, response=response)
            self._pass(int(self.rng.choice([1, 10, 100, 1000])))
            self.accelerator.clear_faults()
            return True

        outcome = self._run(happening)
        assert outcome in ("right", "READ", "WRITE")
        return outcome

    def _flipped_bits(self) -> str:
        """One bit to all bits of one descriptor."""
        descriptors = self._descriptors()
        number = int(self.rng.integers(len(descriptors)))
        damaged = bytearray(descriptors[number])
        for bit in self.rng.integers(0, 8 * DESCRIPTOR_BYTES, self.rng.choice([1, 2, 5, 300])):
            damaged[bit // 8] ^= 1 << bit % 8
        descriptors[number] = bytes(damaged)
        self.use_commands(descriptors)
        outcome = self._run()
        if np.frombuffer(bytes(damaged), "<u4").sum(dtype=np.uint32) != CHECKSUM:
            assert (outcome, self.index) == ("CHECKSUM", number)
        return outcome

    def _wrong_command(self) -> str:
        """Fields of one command changed, its sum right: whatever it does, it can be ended."""
        descriptors = self._descriptors()
        number = int(self.rng.integers(len(descriptors)))
        fields = HEAD | BODIES[Opcode(descriptors[number][0])]
        word = int.from_bytes(descriptors[number], "little")
        for name in self.rng.choice(list(fields), int(self.rng.integers(1, 4))):
            place = list(fields).index(name)
            start, bits = sum(list(fields.values())[:place]), fields[name]
            word ^= int(self.rng.integers(1, 1 << bits)) << start
        descriptors[number] = _summed(word.to_bytes(DESCRIPTOR_BYTES, "little"))
        self.use_commands(descriptors)
        return self._any_end()

    def _random_command(self) -> str:
        """A command of random bits, its opcode and its sum right."""
        descriptors = self._descriptors()
        number = int(self.rng.integers(len(descriptors) + 1))
        opcode = int(self.rng.choice(list(Opcode)))
        descriptors.insert(number, self.random_command(opcode))
        self.use_commands(descriptors)
        return self._any_end()

    def _any_end(self) -> str:
        """A run of commands that may compute anything, and may or may not end."""
        try:
            return self._run()
        except AssertionError as error:
            assert "codes differ" in str(error), error
            return "wrong codes"

    def _unknown_opcode(self) -> str:
        descriptors = self._descriptors()
        number = int(self.rng.integers(len(descriptors)))
        opcode = int(self.rng.choice([0, *range(5, 256)]))
        descriptors[number] = _summed(bytes([opcode]) + descriptors[number][1:])
        self.use_commands(descriptors)
        outcome = self._run()
        assert (outcome, self.index) == ("OPCODE", number)
        return outcome

    def _truncated(self) -> str:
        """The program ends before its END, or goes on in empty memory."""
        descriptors = self._descriptors()
        count = max(0, int(self.rng.integers(-3, len(descriptors))))
        empty = self._chance()
        self.use_commands(descriptors[:count] + [bytes(DESCRIPTOR_BYTES)] * empty)
        outcome = self._run()
        assert (outcome, self.index) == ("CHECKSUM" if empty else "LENGTH", count)
        return outcome

    def _start_while_busy(self) -> str:
        """Is reported; the run goes on and is right."""

        def happening():
            self._pass(self._cycle())
            assert self.accelerator.read(offset("status")) == _BUSY
            self.accelerator.write(offset("control"), _START)
            self._pass(2)
            assert self.accelerator.irq
            assert self.accelerator.read(offset("error_cause")) == ErrorCause.BUSY
            self.accelerator.write(offset("irq_status"), 2)
            self._pass(2)
            return True

        assert self._run(happening) == "right"
        return "BUSY"

    def _reset(self) -> str:
        """Soft reset at any cycle, once or several times."""

        def happening():
            self._pass(self._cycle())
            for _ in range(int(self.rng.integers(1, 4))):
                self.accelerator.write(offset("control"), _RESET)
                self._pass(int(self.rng.choice([0, 1, 5, 30])))
            return False

        assert self._run(happening) == "reset"
        return "reset"

    def _during_an_abort(self) -> str:
        """A reset or a start while the transfers of a run that failed come to their end."""
        region, address = self._place()
        self.accelerator.inject_fault(address, address + 1)

        def happening():
            super(DisturbedBus, self.bus).wait()
            self._pass(int(self.rng.integers(0, 30)))
            if self.accelerator.read(offset("status")) & _BUSY:
                self.accelerator.write(offset("control"), int(self.rng.choice([_START, _RESET])))
                self._pass(int(self.rng.integers(0, 30)))
            return True

        outcome = self._run(happening)
        # A reset forgets the cause.
        assert outcome in ("right", "READ", "WRITE", "BUSY", "NONE"), (region, outcome)
        return outcome

    def _outside_the_window(self) -> str:
        """A region elsewhere, or a window that ends too early."""
        region, address = self._place()
        first, last = self._register("window_first"), self._register("window_last")
        if self._chance():
            page = int(self.rng.choice([0, first - _PAGE, last + 1, last + 1 + (1 << 20)]))
            self.accelerator.write(offset(f"{region.name.lower()}_base_low"), page)
        else:
            page = (address - first) % self._register("stripe") // _PAGE * _PAGE + first
            self.accelerator.write(offset("window_last_low"), page - 1)
        outcome = self._run()
        if outcome != "right":
            assert outcome == "WINDOW"
            window = self._register("window_first"), self._register("window_last")
            assert not window[0] <= self.address <= window[1]
        # The registers are as they were for the next driver only.
        self._use(self.program)
        return outcome


def _summed(descriptor: bytes) -> bytes:
    """The descriptor with a last word that makes its sum right."""
    words = np.frombuffer(descriptor, "<u4").copy()
    words[-1] = (CHECKSUM - int(words[:-1].sum(dtype=np.uint64))) % (1 << 32)
    return words.tobytes()


KINDS: dict[str, Callable[[FaultBench], str]] = {
    function.__name__.strip("_"): function
    for function in (
        FaultBench._error_response,
        FaultBench._error_responses_for_a_while,
        FaultBench._flipped_bits,
        FaultBench._wrong_command,
        FaultBench._random_command,
        FaultBench._unknown_opcode,
        FaultBench._truncated,
        FaultBench._start_while_busy,
        FaultBench._reset,
        FaultBench._during_an_abort,
        FaultBench._outside_the_window,
    )
}
