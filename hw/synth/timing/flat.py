"""All instances of mapped modules side by side, and when their nets settle."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hw.synth.timing import constants as ns
from hw.synth.timing.unit import Unit

__all__ = ["Flat", "flatten"]


@dataclass
class _Arrays:
    """The lists of a unit as arrays, made once for all its instances."""

    source: np.ndarray
    target: np.ndarray
    delay: np.ndarray
    kind: np.ndarray
    start: np.ndarray
    start_delay: np.ndarray
    end: np.ndarray
    setup: np.ndarray
    loaded: np.ndarray
    loads: np.ndarray

    @classmethod
    def of(cls, unit: Unit) -> "_Arrays":
        source, target, delay, kind = _columns(unit.arcs, 4)
        start, start_delay = _columns(unit.starts, 2)
        end, setup = _columns([(node, time) for node, time, _ in unit.ends], 2)
        loaded, loads = _columns(list(unit.loads.items()), 2)
        whole = [array.astype(np.int64) for array in (source, target, kind, start, end, loaded)]
        source, target, kind, start, end, loaded = whole
        return cls(source, target, delay, kind, start, start_delay, end, setup, loaded, loads)


def _columns(rows: list[tuple], number: int) -> np.ndarray:
    return np.array(rows, dtype=float).reshape(-1, number).T


class Flat:
    """One netlist without hierarchy.

    source, target, delay : arcs with the delay of net and cell.
    end, setup : where paths end.
    fanout : node -> pins that it drives, in all instances together.
    arrival : node -> ns from the clock until it has settled; -inf where no register reaches it.
    loops : nodes that are part of, or behind, a loop without a register; they have no arrival.
    """

    def __init__(self, units: Mapping[str, Unit], top: str):
        self._units = units
        self._arrays = {name: _Arrays.of(unit) for name, unit in units.items()}
        #: For each instance: module, path, first of its nodes, its nodes' places; its first end.
        self.placed: list[tuple[str, str, int]] = []
        self._first_end: list[int] = []
        self._parts: dict[str, list[np.ndarray]] = {
            name: []
            for name in (
                *("source", "target", "delay", "kind", "start", "start_delay"),
                *("end", "setup", "loaded", "loads"),
            )
        }
        self._same: list[np.ndarray] = []
        self.nodes = self._ends = 0
        self._place(top, "", {})
        self._ports(units[top])
        parts = {
            name: np.concatenate(arrays) if arrays else np.zeros(0)
            for name, arrays in self._parts.items()
        }
        self._join(parts)
        self.end, self.setup = parts["end"], parts["setup"]
        self.start = parts["start"]
        self.fanout = np.bincount(
            parts["loaded"], weights=parts["loads"], minlength=self.nodes
        ).astype(np.int64)
        net = ns.NET + ns.NET_LOG_FANOUT * np.log(np.maximum(self.fanout, 1))
        self.net = net
        wire = np.choose(
            parts["kind"],
            [net[parts["source"]], np.float64(ns.NET_LOCAL), np.float64(0.0)],
        )
        self.wire = wire
        self.source, self.target = parts["source"], parts["target"]
        self.delay = parts["delay"] + wire
        self._settle(parts["start"], parts["start_delay"] + ns.PATH)

    # Instances ----------------------------------------------------------------------------------

    def _place(self, module: str, path: str, bound: Mapping[str, np.ndarray]) -> None:
        unit, arrays = self._units[module], self._arrays[module]
        base = self.nodes
        where = np.arange(base, base + unit.nodes)
        self.nodes += unit.nodes
        for port, outside in bound.items():
            inside = unit.inputs.get(port, unit.outputs.get(port))
            if inside is None:
                continue
            both = (inside >= 0) & (outside >= 0)
            # Two ports may share a net inside: then two nets outside are one.
            self._same.append(np.stack([base + inside[both], outside[both]]))
        self.placed.append((module, path, base))
        self._first_end.append(self._ends)
        self._ends += len(arrays.end)
        for name, nodes in (
            *(("source", arrays.source), ("target", arrays.target), ("start", arrays.start)),
            *(("end", arrays.end), ("loaded", arrays.loaded)),
        ):
            self._parts[name].append(nodes + base)
        for name in ("delay", "kind", "start_delay", "setup", "loads"):
            self._parts[name].append(getattr(arrays, name))
        for used, name, ports in unit.instances:
            outside = {p: np.where(n >= 0, where[n], -1) for p, n in ports.items()}
            self._place(used, f"{path}.{name}" if path else name, outside)

    def _ports(self, unit: Unit) -> None:
        """The design's own ports begin and end at registers outside."""
        for nodes in unit.inputs.values():
            self._parts["start"].append(nodes[nodes >= 0])
            self._parts["start_delay"].append(np.full(int((nodes >= 0).sum()), ns.CLOCK_TO_OUT))
        self.port_ends: list[str] = []
        for port, nodes in unit.outputs.items():
            inside = nodes[nodes >= 0]
            self._parts["end"].append(inside)
            self._parts["setup"].append(np.full(len(inside), ns.SETUP_DATA))
            self._parts["loaded"].append(inside)
            self._parts["loads"].append(np.ones(len(inside)))
            self.port_ends += [port] * len(inside)

    def _join(self, parts: dict[str, np.ndarray]) -> None:
        """Nets that are one get one number: the lowest."""
        lowest = np.arange(self.nodes)
        if self._same:
            inside, outside = np.concatenate(self._same, axis=1)
            while True:
                both = np.minimum(lowest[inside], lowest[outside])
                before = lowest.copy()
                np.minimum.at(lowest, inside, both)
                np.minimum.at(lowest, outside, both)
                lowest = lowest[lowest]
                if np.array_equal(before, lowest):
                    break
        for name in ("source", "target", "start", "end", "loaded"):
            parts[name] = lowest[parts[name].astype(np.int64)]
        parts["kind"] = parts["kind"].astype(np.int64)

    # Time ---------------------------------------------------------------------------------------

    def _settle(self, start: np.ndarray, delay: np.ndarray) -> None:
        """Arrivals, level by level: a net is done when all arcs to it are."""
        arrival = np.full(self.nodes, -np.inf)
        np.maximum.at(arrival, start, delay)
        order = np.argsort(self.source, kind="stable")
        source, target, time = self.source[order], self.target[order], self.delay[order]
        first = np.searchsorted(source, np.arange(self.nodes + 1))
        waiting = np.bincount(target, minlength=self.nodes)
        ready = np.flatnonzero(waiting == 0)
        done = 0
        while len(ready):
            done += len(ready)
            counts = first[ready + 1] - first[ready]
            arcs = np.repeat(first[ready] - np.cumsum(counts) + counts, counts)
            arcs += np.arange(len(arcs))
            to = target[arcs]
            np.maximum.at(arrival, to, arrival[source[arcs]] + time[arcs])
            np.subtract.at(waiting, to, 1)
            to = np.unique(to)
            ready = to[waiting[to] == 0]
        self.loops = np.flatnonzero(waiting > 0)
        arrival[self.loops] = -np.inf
        self.arrival = arrival
        self._by_target = np.argsort(self.target, kind="stable")
        self._first_into = np.searchsorted(self.target[self._by_target], np.arange(self.nodes + 1))

    def periods(self) -> np.ndarray:
        """For each end the period that the slowest path to it needs, in ns; -inf without one."""
        return self.arrival[self.end] + self.net[self.end] + self.setup + ns.MARGIN

    def trace(self, node: int) -> list[tuple[int, int]]:
        """The slowest path to a node: (node, arc to it), first node first, whose arc is -1."""
        path = []
        while True:
            arcs = self._by_target[self._first_into[node] : self._first_into[node + 1]]
            times = self.arrival[self.source[arcs]] + self.delay[arcs]
            if not len(arcs) or times.max() < self.arrival[node] - 1e-9:
                path.append((node, -1))
                return path[::-1]
            arc = int(arcs[times.argmax()])
            path.append((node, arc))
            node = int(self.source[arc])

    # Names --------------------------------------------------------------------------------------

    def end_name(self, end: int) -> str:
        """What a path ends at, by its hierarchical name and pin."""
        if end >= self._ends:
            return self.port_ends[end - self._ends]
        index = int(np.searchsorted(self._first_end, end, side="right")) - 1
        module, path, _ = self.placed[index]
        name = self._units[module].ends[end - self._first_end[index]][2]
        return f"{path}.{name}" if path else name

    def node_name(self, node: int) -> str:
        """The net's hierarchical name; "" if Yosys has none that it did not make up."""
        bases = [base for _, _, base in self.placed]
        index = int(np.searchsorted(bases, node, side="right")) - 1
        module, path, base = self.placed[index]
        name = self._units[module].names.get(node - base, "")
        return f"{path}.{name}" if path and name else name


def flatten(units: Mapping[str, Unit], top: str) -> Flat:
    """``top`` with everything inside it."""
    return Flat(units, top)
