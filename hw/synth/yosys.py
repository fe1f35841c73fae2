"""Area with Yosys: every distinct module mapped once, the sums taken over the hierarchy."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from hw.boards.board import Board
from hw.spatial.build import is_spatial
from hw.synth.area import Area, ModuleAreas
from hw.synth.build import read_build
from hw.synth.hierarchy import direct_instances, instances, modules_of_cells
from hw.synth.mapping import map_modules
from hw.synth.spatial import synth_spatial

__all__ = ["ARRAY_PREFIX", "shared_modules", "synth_yosys"]

#: How the array's module is named; everything inside it is the array's share.
ARRAY_PREFIX = "nbqnn_pe_array_"

#: Modules used at least so often are mapped once, on their own. Fewer uses save less time than the
#: work across a module's borders gains.
_OFTEN = 4


def synth_yosys(
    build: Path, board: Board, progress: Callable[[str], None] = lambda step: None
) -> dict:
    """Maps the build's Verilog to the board's cells and counts them.

    A module that is used often is mapped once and counted as often as it is used, which makes the
    time independent of the size of the array. What could still be shared across its borders (equal
    control registers, mostly) is not, so the figures are slightly on the safe side.

    Parameters
    ----------
    build : folder that ``generate`` wrote; Yosys's log goes to ``yosys-<board>.log`` in it.
    board : decides the cells and the capacity that the shares refer to.
    progress : called with a word on what Yosys is doing.

    Returns
    -------
    dict with ``lut``, ``ff``, ``bram36``, ``dsp``; ``share`` of the board for each, in percent;
    ``array`` with the same four for the array alone, its ``lanes`` (multiply-equivalents a cycle),
    ``lut_per_lane`` and ``dsp_per_lane``; ``modules``, for the modules that were mapped on their
    own: name -> the four for one instance, and ``instances``; ``board``, ``part``, ``tool``,
    ``tool_version``; ``build``, the fields of :class:`hw.contract.origin.Origin`.

    Raises
    ------
    NbqnnError
        The folder is not a build, or Yosys refuses its Verilog.
    """
    if is_spatial(build):
        return synth_spatial(build, board, progress)
    design = read_build(build)
    design.check_as_generated()
    verilog = design.verilog_for(board.family)
    cells, version = map_modules(
        verilog,
        design.top,
        board.family,
        keep=shared_modules(verilog, design.top),
        log=design.path / f"yosys-{board.name}.log",
        progress=progress,
    )
    areas = ModuleAreas(cells, board.family)
    counts = instances(cells, design.top)
    total = areas.of(design.top)
    array = sum(
        (areas.of(name) * counts[name] for name in counts if name.startswith(ARRAY_PREFIX)),
        Area(),
    )
    lanes = design.config.multiplies_per_cycle
    return {
        "kind": "synth",
        "tool": "yosys",
        "tool_version": version,
        "board": board.name,
        "part": board.part,
        "build": design.made_from.to_dict(),
        **asdict(total),
        "share": {
            resource: round(100 * amount / getattr(board, resource), 2)
            for resource, amount in asdict(total).items()
        },
        "array": {
            **asdict(array),
            "lanes": lanes,
            "lut_per_lane": round(array.lut / lanes, 2),
            "dsp_per_lane": round(array.dsp / lanes, 4),
        },
        "modules": {
            name: {"instances": counts[name], **asdict(areas.of(name))} for name in sorted(counts)
        },
    }


def shared_modules(verilog: str, top: str) -> set[str]:
    """The modules to map on their own: the array, and those that ``top`` contains often."""
    counts = instances(direct_instances(verilog), top)
    return {
        name
        for name, count in counts.items()
        if name != top and (count >= _OFTEN or name.startswith(ARRAY_PREFIX))
    } - modules_of_cells(verilog)
