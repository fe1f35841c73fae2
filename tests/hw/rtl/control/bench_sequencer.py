"""cocotb cases for the step sequencer: every step, its cycle and what it hands on."""

import random
from collections import deque

import cocotb
from cocotb.triggers import RisingEdge

from hw.contract.isa import Unit
from hw.contract.structure import activation_address_bits
from sim.streams import start
from tests.hw.rtl.control.designs import SEQUENCERS
from tests.hw.rtl.control.sequences import random_command

COMMANDS = 70
#: Cycles that a command waits at most once results or the drain's queue no longer hold it up.
LAG = 1


class Walk:
    """Offers commands and their groups, each command two cycles or more before its groups."""

    def __init__(self, commands, stall_rate):
        self.commands = deque(commands)
        self.stall_rate = stall_rate
        self.command = self.commands.popleft()
        self.groups = deque(self.command.groups)
        #: Cycles until a group may be offered.
        self.wait = 3
        self.offered = None

    def drive(self, taken):
        """The group that is offered in the cycle that begins, if any, given what was taken."""
        if taken:
            ended, self.offered = self.offered.end, None
            if ended:
                # Until a new one comes nothing is said about the command.
                self.command = self.commands.popleft() if self.commands else None
                self.groups = deque(self.command.groups if self.command else ())
                self.wait = 3 + random.randrange(3) * (random.random() < self.stall_rate)
        self.wait = max(0, self.wait - 1)
        stalled = self.wait > 0 or random.random() < self.stall_rate
        if self.offered is None and self.groups and not stalled:
            self.offered = self.groups.popleft()
        return self.offered


class Results:
    """Whether groups are pending: each is written some cycles after it was handed on, in order."""

    def __init__(self):
        self.due = deque()

    def drive(self, cycle, handed):
        if handed:
            self.due.append(cycle + random.choice((1, random.randrange(1, 40))))
        if self.due and self.due[0] <= cycle:
            self.due.popleft()
        return bool(self.due)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(name=list(SEQUENCERS), stall_rate=[0.0, 0.3])
async def steps(dut, name, stall_rate):
    """Steps come one after the other but for stalls, spacing and changes of the unit."""
    c = SEQUENCERS[name]
    bits = activation_address_bits(c)
    commands, unit = [], Unit.ARRAY
    for _ in range(COMMANDS):
        if random.random() < 0.5:
            unit = random.choice(list(Unit))
        commands.append(random_command(c, unit, most_steps=40))
    groups = [(group, command) for command in commands for group in command.groups]

    def port(suffix):
        return getattr(dut, f"{name}_{suffix}")

    inputs = ["command", "pending", "groups__payload", "groups__valid"]
    inputs += ["drain_room", "drain_commands__ready"]
    await start(dut, inputs=[f"{other}_{suffix}" for other in SEQUENCERS for suffix in inputs])

    walk, results = Walk(commands, stall_rate), Results()
    # Before the first command there is none, whose unit is that of the reset.
    unit, drain_cycles, last_step = Unit.ARRAY, 1, -1
    number, taken_at = 0, None  # The group at hand, and the cycle in which it was taken.
    may_take_since = None
    drain_commands = 0
    taken, started, handed, pending = False, False, False, False
    room_from, drain_room = 0, False
    expected = None  # What the outputs are to show: the step of the cycle before.
    padding, where = [], ""  # The step before that one's, which positions it is in.
    held = False
    cycle = 0
    while number < len(groups) or pending or expected is not None or padding:
        # Drive what is seen in this cycle.
        offered = walk.drive(taken)
        port("command").value = (
            walk.command.payload if walk.command else random.getrandbits(len(port("command")))
        )
        port("groups__valid").value = offered is not None
        port("groups__payload").value = (
            offered.payload if offered else random.getrandbits(len(port("groups__payload")))
        )
        pending = results.drive(cycle, handed)
        port("pending").value = pending
        # The queue for commands keeps its room until it is taken; that for drains may change.
        if taken and started and random.random() < stall_rate:
            room_from = cycle + random.randrange(1, 90)
        command_room = cycle >= room_from
        # That for drains is told a cycle before.
        may_drain, drain_room = drain_room, random.random() >= stall_rate
        port("drain_commands__ready").value = command_room
        port("drain_room").value = drain_room
        await RisingEdge(dut.clk)

        # The step before is at the outputs.
        assert int(port("held").value) == held, f"cycle {cycle}: held"
        assert int(port("valid").value) == (expected is not None), (
            f"cycle {cycle}, before group {number}: step {expected}"
        )
        read_valid = int(port("read__valid").value)
        padded = int(port("read__padded").value)
        assert [bool(padded >> p & 1) for p in range(len(padding))] == padding, where
        padding = []
        if expected is None:
            assert read_valid == 0, cycle
        else:
            fields, (flags, weight, taps) = expected
            actual = tuple(bool(int(port(flag).value)) for flag in ("first", "last", "grow"))
            # What the flags of a product say otherwise does not count.
            of_product = int(port("factor").value) if c.products else 0
            actual = (*actual, of_product if of_product & 1 else 0)
            where = f"cycle {cycle}, command {fields}"
            assert actual == flags, f"{where}: {actual}, not {flags}"
            assert int(port("weight_address").value) == weight, where
            assert int(port("unit").value) == fields["unit"], where
            assert int(port("read__pad_lowest").value) == fields["pad"] >> c.act_bits - 1 & 1, where
            assert read_valid == (1 << len(taps)) - 1, where
            padding, words = map(list, zip(*taps, strict=True))
            addresses = int(port("read__address").value)
            actual = [addresses >> p * bits & ((1 << bits) - 1) for p in range(len(taps))]
            assert actual == words, f"{where}: {actual}, not {words}"

        # The step of this cycle: taps follow each other, the last one waits for the drain.
        active = taken_at is not None
        expected, done = None, False
        if active:
            group, command = groups[number]
            step, last = cycle - taken_at - 1, len(group.steps) - 1
            done = step >= last and cycle >= last_step + drain_cycles and may_drain
            if step < last or done:
                expected = command.fields, group.steps[min(step, last)]
            assert int(port("drains__valid").value) == done, f"cycle {cycle}, group {number}"
            if done:
                assert int(port("drains__payload").value) == group.drain, f"group {number}"
                number, taken_at = number + 1, None
                last_step, drain_cycles = cycle, command.fields["drain_cycles"]
        else:
            assert not int(port("drains__valid").value), cycle
        handed, held = done, active or offered is not None

        # A group is taken at once, or as soon as it is free to go.
        taken = offered is not None and bool(int(port("groups__ready").value))
        started = offered is not None and offered.start
        if offered is not None:
            other = started and walk.command.fields["unit"] != unit
            may_take = done or not active
            if started:
                may_take &= command_room
            if other:
                may_take &= not active and not pending
            if not may_take:
                may_take_since = None
                assert not taken, f"cycle {cycle}: group {number} was taken too early"
            elif may_take_since is None:
                may_take_since = cycle
            if may_take and cycle - may_take_since >= (LAG if started else 0):
                assert taken, f"cycle {cycle}: group {number} was not taken"
        assert int(port("drain_commands__valid").value) == (taken and started), cycle
        if taken:
            taken_at, may_take_since = cycle, None
            if started:
                payload = int(port("drain_commands__payload").value)
                assert payload == commands[drain_commands].drain_payload, drain_commands
                drain_commands += 1
                unit = walk.command.fields["unit"]
        cycle += 1
    assert drain_commands == len(commands)
