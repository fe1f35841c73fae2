"""What the components of an accelerator take of an area that was mapped as one."""

from collections import defaultdict
from collections.abc import Mapping

from hw.synth.area import CELL_AREAS, Area, ModuleAreas

__all__ = ["component_areas"]

#: Levels of instances that are told apart: ``core.compute.sequencer``.
_DEPTH = 3


def component_areas(
    netlists: Mapping[str, dict],
    top: str,
    paths: Mapping[str, str],
    areas: ModuleAreas,
    family: str,
) -> dict[str, Area]:
    """Path of an instance, at most three levels deep -> its area without those below it.

    Mapping dissolves instances, but nets keep their names. A register or a memory belongs to the
    instance in whose name its output is; logic to that of its output, or, without a name, to that
    of what it feeds. So a table that two components share counts for one of them. The areas add up
    to that of ``top``, whose own is under "".

    Parameters
    ----------
    netlists : module that was mapped on its own -> its slim netlist.
    paths : path of each instance in ``top``, and its module.
    areas : of these modules, with all that is inside them.
    family : key of :data:`CELL_AREAS`.
    """
    cells = netlists[top]["cells"]
    owners = _owners(netlists[top], netlists, paths)
    table = CELL_AREAS[family]
    result: dict[str, Area] = defaultdict(Area)
    for name, cell in cells.items():
        taken = areas.of(cell["type"]) if cell["type"] in netlists else table[cell["type"]]
        if taken != Area():
            result[".".join(owners[name].split(".")[:_DEPTH])] += taken
    return dict(sorted(result.items()))


def _owners(module: dict, netlists: Mapping[str, dict], paths: Mapping[str, str]) -> dict[str, str]:
    """Cell -> path of the instance that it belongs to."""
    names = _names(module)
    owners: dict[str, str] = {}
    nameless: dict[str, list[int]] = {}
    fed: dict[int, list[str]] = defaultdict(list)
    for name, cell in module["cells"].items():
        sides = cell["port_directions"]
        driven = []
        for port, bits in cell["connections"].items():
            if sides[port] == "output":
                driven += bits
            else:
                for bit in bits:
                    fed[bit].append(name)
        named = [names[bit] for bit in driven if bit in names]
        if cell["type"] in netlists:
            owners[name] = _known(name, paths)
        elif named:
            owners[name] = _known(named[0].rpartition(".")[0], paths)
        else:
            nameless[name] = driven
    # From the registers back, a level of logic with each turn.
    while nameless:
        found = {
            name: near
            for name, driven in nameless.items()
            if (near := next((owners[o] for bit in driven for o in fed[bit] if o in owners), None))
            is not None
        }
        if not found:
            return owners | dict.fromkeys(nameless, "")
        owners |= found
        for name in found:
            del nameless[name]
    return owners


def _names(module: dict) -> dict[int, str]:
    """Net -> its name: that of the register that drives it, or the one that lies highest."""
    names: dict[int, str] = {}
    for name, net in sorted(
        module["netnames"].items(), key=lambda item: (not item[1]["init"], item[0].count("."))
    ):
        for bit in net["bits"]:
            names.setdefault(bit, name)
    return names


def _known(path: str, paths: Mapping[str, str]) -> str:
    """The innermost instance that a path is in."""
    while path and path not in paths:
        path = path.rpartition(".")[0]
    return path
