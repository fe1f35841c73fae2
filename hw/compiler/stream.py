"""The command stream: the order in which the commands of three engines are fetched."""

from bisect import bisect_right

from hw.compiler.errors import CompileError
from hw.contract.isa import MAX_COMMANDS, Command, Compute, End, Load, Memory, Store, pack

__all__ = ["CommandStream"]

#: How many compute commands before the one that needs it a load is fetched.
_AHEAD = 2
#: Beats of a load that descriptors should not wait for: they come over the same bus.
_LONG = 256
#: Compute commands that are sure to be in their queue when a load behind them begins.
_QUEUED = 3


class CommandStream:
    """The commands of each engine, in order. What they wait for says how they may overlap.

    The engines take commands from one stream, through short queues. A full queue stops the fetch.
    So every command stands behind all that it waits for, and a load stands shortly before the
    command that needs it.
    """

    def __init__(self):
        self.loads: list[Load] = []
        self.computes: list[Compute] = []
        self.stores: list[Store] = []
        #: For each load, the number of the compute command that needs it first.
        self._needed: list[int] = []

    def load(self, command: Load, needed: int):
        self.loads.append(command)
        self._needed.append(needed)

    def compute(self, command: Compute):
        self.computes.append(command)

    def store(self, command: Store):
        self.stores.append(command)

    def cycles_since(self, count: int) -> int:
        """Cycles that the compute commands behind the first ``count`` take at least."""
        return sum(map(_least_cycles, self.computes[count:]))

    def ordered(self) -> list[Command]:
        """Each command after all that it waits for."""
        # The compute commands that a store or a load stands before.
        stores = [store.wait_compute for store in self.stores]
        for index in range(1, len(stores)):
            stores[index] = max(stores[index], stores[index - 1])
        loads: list[int] = []
        for load, needed in zip(self.loads, self._needed, strict=True):
            after_store = stores[load.wait_store - 1] if load.wait_store else 0
            allowed = max(load.wait_compute, after_store)
            # By then one more command is in the queue, unless that one needs the load.
            before = min(needed, max(allowed + 1 if allowed else 0, needed - _AHEAD))
            if load.memory == Memory.ACT and load.rows * load.beats > _LONG:
                before = self._beside(load, before, needed)
            before = max(before, allowed, loads[-1] if loads else 0)
            loads.append(before)
        # A store of an input that is also an output waits for loads, and stands behind them.
        ordered: list[Command] = []
        taken = {"load": 0, "store": 0}

        def take_loads(count: int):
            ordered.extend(self.loads[taken["load"] : count])
            taken["load"] = max(taken["load"], count)

        for number in range(len(self.computes) + 1):
            while taken["store"] < len(stores) and stores[taken["store"]] <= number:
                store = self.stores[taken["store"]]
                take_loads(store.wait_load)
                ordered.append(store)
                taken["store"] += 1
            take_loads(bisect_right(loads, number))
            if number < len(self.computes):
                ordered.append(self.computes[number])
        ordered.append(End())
        return ordered

    def _beside(self, load: Load, first: int, needed: int) -> int:
        """The last place from ``first`` to ``needed`` with enough to compute during a load."""
        for place in range(needed, first, -1):
            before = self.computes[max(0, place - _QUEUED) : place]
            if sum(map(_least_cycles, before)) >= load.rows * load.beats:
                return place
        return first

    def pack(self, layers: list[str]) -> bytes:
        """The descriptors. ``layers`` are the layers' names, for messages.

        Raises :class:`CompileError` for a size that does not fit its field.
        """
        ordered = self.ordered()
        if len(ordered) > MAX_COMMANDS:
            raise CompileError(f"a program of {len(ordered)} commands; at most {MAX_COMMANDS}")
        packed = []
        for command in ordered:
            try:
                packed.append(pack(command))
            except ValueError as error:
                # Only sizes of layers can be too large; transfers are split.
                raise CompileError(f"layer {layers[command.layer]}: {error}") from None
        return b"".join(packed)


def _least_cycles(command: Compute) -> int:
    """Cycles that a command takes at least."""
    steps = command.channel_groups * command.kernel_h * command.kernel_w
    groups = -(-command.positions // command.pixels) * command.filter_groups
    return groups * max(steps, command.drain_cycles)
