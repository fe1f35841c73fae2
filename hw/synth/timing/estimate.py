"""The estimated period of a mapped design, and its slowest paths by component."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hw.synth.timing import constants as ns
from hw.synth.timing.flat import Flat, flatten
from hw.synth.timing.unit import read_unit

__all__ = ["TimingEstimate", "TimingPath", "estimate_timing", "speed_of"]

#: Paths that are looked at for the worst of each component, and for the components' shares.
_LOOKED_AT = 50_000
_WORST = 1_000
_LISTED = 10


@dataclass(frozen=True, kw_only=True)
class TimingPath:
    """A slowest path.

    component : module that the path ends in; end : register or block and its pin; start : net
        where the path begins.
    period_ns : the period that it needs; logic_ns : its cells' share; levels : look-up tables,
        multiplexers and bits of carry chains behind one another.
    fanout, net : the path's net with most loads.
    """

    component: str
    start: str
    end: str
    period_ns: float
    logic_ns: float
    levels: int
    fanout: int
    net: str


@dataclass(frozen=True, kw_only=True)
class TimingEstimate:
    """What a static estimate says of a netlist; nothing is placed, routed or measured.

    period_ns, low_ns, high_ns : the shortest period, and its band.
    paths : the slowest path of each component, slowest first, ten at most.
    components : of the 1,000 slowest ends, component -> how many are in it.
    loops : nets in or behind loops without a register; unknown : cells of unknown delay.
    """

    period_ns: float
    low_ns: float
    high_ns: float
    paths: tuple[TimingPath, ...]
    components: dict[str, int]
    loops: int = 0
    unknown: int = 0

    @property
    def mhz(self) -> float:
        return round(1e3 / self.period_ns, 1)

    @property
    def low_mhz(self) -> float:
        return round(1e3 / self.high_ns, 1)

    @property
    def high_mhz(self) -> float:
        return round(1e3 / self.low_ns, 1)


def speed_of(part: str) -> float | None:
    """How many times slower than grade -2 a part is; None for one that is not UltraScale+."""
    if not part.startswith(("xczu", "xck", "xcku", "xcvu")):
        return None
    return next((factor for grade, factor in ns.SPEED.items() if grade in f"{part}-"), None)


def estimate_timing(
    netlists: Mapping[str, dict], top: str, components: Mapping[str, str], speed: float = 1.0
) -> TimingEstimate | None:
    """Estimates all paths between registers of ``top``.

    Parameters
    ----------
    netlists : module that was mapped on its own -> what
        :func:`hw.synth.mapping.slim_netlist` made of it.
    components : path of an instance ("" is ``top``) -> the component it belongs to.
    speed : factor of all delays.

    Returns
    -------
    TimingEstimate or None
        None where no path ends.
    """
    names = set(netlists)
    units = {name: read_unit(module, names) for name, module in netlists.items()}
    flat = flatten(units, top)
    periods = flat.periods() * speed
    if not np.isfinite(periods).any():
        return None
    order = np.argsort(-periods, kind="stable")[: min(_LOOKED_AT, len(periods))]
    order = order[np.isfinite(periods[order])]
    worst: dict[str, int] = {}
    shares: dict[str, int] = {}
    for rank, end in enumerate(order.tolist()):
        component = _component(flat.end_name(end).rpartition("/")[0], components)
        worst.setdefault(component, end)
        if rank < _WORST:
            shares[component] = shares.get(component, 0) + 1
    longest = float(periods[order[0]])
    return TimingEstimate(
        period_ns=round(longest, 3),
        low_ns=round(longest / ns.BAND, 3),
        high_ns=round(longest * ns.BAND, 3),
        paths=tuple(
            _path(flat, end, component, float(periods[end]), speed)
            for component, end in list(worst.items())[:_LISTED]
        ),
        components=shares,
        loops=len(flat.loops),
        unknown=sum(sum(unit.unknown.values()) for unit in units.values()),
    )


def _component(name: str, components: Mapping[str, str]) -> str:
    """The component of the innermost instance whose path begins ``name``."""
    while name:
        name = name.rpartition(".")[0]
        if name in components:
            return components[name]
    return components.get("", "")


def _path(flat: Flat, end: int, component: str, period: float, speed: float) -> TimingPath:
    steps = flat.trace(int(flat.end[end]))
    arcs = [arc for _, arc in steps if arc >= 0]
    # Carries inside a chain have no net, so no fan-out.
    nets = [node for node, _ in steps]
    busiest = max(nets, key=lambda node: int(flat.fanout[node]))
    wires = sum(float(flat.wire[arc]) for arc in arcs) + float(flat.net[int(flat.end[end])])
    logic = period / speed - wires - ns.PATH - ns.MARGIN
    named = next((name for node in nets if (name := flat.node_name(node))), "")
    return TimingPath(
        component=component,
        start=named,
        end=flat.end_name(end),
        period_ns=round(period, 3),
        logic_ns=round(logic * speed, 3),
        levels=sum(1 for arc in arcs if flat.wire[arc] > 0),
        fanout=int(flat.fanout[busiest]),
        net=flat.node_name(busiest) or "(no name)",
    )
