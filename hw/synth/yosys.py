"""Area with Yosys: each module is mapped once, then areas are added over the hierarchy."""

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from hw.boards.board import Board
from hw.spatial.build import is_spatial
from hw.synth.area import Area, ModuleAreas
from hw.synth.build import read_build
from hw.synth.component_areas import component_areas
from hw.synth.hierarchy import (
    direct_instances,
    instance_paths,
    instances,
    module_texts,
    modules_of_cells,
)
from hw.synth.mapping import MappedDesign, map_design
from hw.synth.power import power_fields
from hw.synth.results import ModuleArea, SynthResult, synth_result
from hw.synth.spatial import synth_spatial
from hw.synth.timing.estimate import estimate_timing, speed_of

__all__ = ["ARRAY_PREFIX", "shared_modules", "synth_yosys"]

#: How the names of arrays' modules begin. Everything inside them is the array's share.
ARRAY_PREFIX = "nbqnn_pe_array_"

#: Modules used at least so often are mapped once, alone. With fewer uses that would save little
#: time, and optimization across a module's borders is worth more.
_OFTEN = 4
#: Modules of so much Verilog, in characters, are mapped alone, too: beside the rest, not after it.
_LARGE = 200_000
_READY = re.compile(r"^ +(?:input|output) .*ready;$", flags=re.MULTILINE)


def synth_yosys(
    build: Path, board: Board, progress: Callable[[str], None] = lambda step: None
) -> SynthResult:
    """Maps the build's Verilog to the board's cells, counts them and estimates their clock.

    A module that is used often is mapped once and counted as often as it is used. So the time does
    not depend on the size of the array. Nothing is shared across the module's borders (mostly equal
    control registers could be), so the figures are slightly too high.

    Parameters
    ----------
    build : folder that ``generate`` wrote; Yosys's log goes to ``yosys-<board>.log`` in it.
    board : decides the cells and the capacity that the shares refer to.
    progress : called with a few words on what Yosys is doing.

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
    speed = speed_of(board.part)
    mapped = map_design(
        verilog,
        design.top,
        board.family,
        keep=shared_modules(verilog, design.top),
        log=design.path / f"yosys-{board.name}.log",
        progress=progress,
        netlists=speed is not None,
    )
    cells = mapped.cells
    areas = ModuleAreas(cells, board.family)
    counts = instances(cells, design.top)
    total = areas.of(design.top)
    arrays = [name for name in counts if name.startswith(ARRAY_PREFIX)]
    # An array may be a part of another one.
    within = {used for name in arrays for used in instances(cells, name) if used != name}
    array = sum((areas.of(name) * counts[name] for name in arrays if name not in within), Area())
    return synth_result(
        "yosys",
        mapped.version,
        board,
        total,
        array,
        design.config.multiplies_per_cycle,
        modules={
            name: ModuleArea(instances=counts[name], **asdict(areas.of(name)))
            for name in sorted(counts)
        },
        clock_mhz=design.config.clock_mhz,
        build=design.made_from.to_dict(),
        components=_component_areas(mapped, verilog, design.top, areas, board.family),
        **power_fields(total, design.config.clock_mhz, board),
        **_timing_fields(mapped, verilog, design.top, speed),
    )


def _component_areas(
    mapped: MappedDesign, verilog: str, top: str, areas: ModuleAreas, family: str
) -> dict[str, Area] | None:
    """Areas by instance, where there is a netlist."""
    if not mapped.netlists:
        return None
    cells = modules_of_cells(verilog)
    paths = {
        path: module for path, module in instance_paths(verilog, top).items() if module not in cells
    }
    return component_areas(mapped.netlists, top, paths, areas, family)


def _timing_fields(
    mapped: MappedDesign, verilog: str, top: str, speed: float | None
) -> dict[str, object]:
    """The estimated clock as fields of the result; none where there is none."""
    cells = modules_of_cells(verilog)
    # Modules of cells are parts of the component that they are in.
    paths = instance_paths(verilog, top).items()
    components = {path: module for path, module in paths if module not in cells}
    timing = speed and estimate_timing(mapped.netlists, top, components, speed)
    if not timing:
        return {}
    return {
        "estimated_mhz": timing.mhz,
        "estimated_low_mhz": timing.low_mhz,
        "estimated_high_mhz": timing.high_mhz,
        "estimated_timing": timing,
    }


def shared_modules(verilog: str, top: str) -> set[str]:
    """The modules to map on their own: the array, what ``top`` contains often, and what is large.

    Not those with a stream whose ``ready`` they answer or hear: paths lead through them, and would
    be mapped piece by piece.
    """
    counts = instances(direct_instances(verilog), top)
    texts = module_texts(verilog)
    return {
        name
        for name, count in counts.items()
        if name != top
        and (
            name.startswith(ARRAY_PREFIX)
            or ((count >= _OFTEN or len(texts[name]) > _LARGE) and not _READY.search(texts[name]))
        )
    } - modules_of_cells(verilog)
