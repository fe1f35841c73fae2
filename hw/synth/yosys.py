"""Area with Yosys: every distinct module mapped once, the sums taken over the hierarchy."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from hw.boards import Board
from hw.files import write_text
from hw.synth.area import Area, ModuleAreas
from hw.synth.build import read_build
from hw.synth.hierarchy import direct_instances, instances
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["ARRAY_PREFIX", "map_modules", "shared_modules", "synth_yosys"]

#: How the array's module is named; everything inside it is the array's share.
ARRAY_PREFIX = "nbqnn_array_"

#: Modules used at least so often are mapped once, on their own. Fewer uses save less time than the
#: work across a module's borders gains.
_OFTEN = 4
#: These dissolve modules into their users, but for those marked with ``keep_hierarchy``.
_SYNTH = {"xcup": "synth_xilinx -family xcup -noiopad -noclkbuf -flatten", "ecp5": "synth_ecp5"}
#: Bookkeeping cells of Yosys that stand for no hardware.
_NOT_HARDWARE = ("$scopeinfo",)
_PASS = re.compile(r"^\d[\d.]* Executing (.*?)(?: \(.*| pass.*|\.)?$")


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
    ``tool_version``.

    Raises
    ------
    NbqnnError
        The folder is not a build, or Yosys refuses its Verilog.
    """
    design = read_build(build)
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
        "tool": "yosys",
        "tool_version": version,
        "board": board.name,
        "part": board.part,
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
    cells = direct_instances(verilog)
    counts = instances(cells, top)
    return {
        name
        for name, count in counts.items()
        if name != top and (count >= _OFTEN or name.startswith(ARRAY_PREFIX))
    }


def map_modules(
    verilog: str,
    top: str,
    family: str,
    *,
    keep: Iterable[str],
    log: Path,
    progress: Callable[[str], None] = lambda step: None,
) -> tuple[dict[str, dict[str, int]], str]:
    """Runs Yosys on Verilog text.

    Modules in ``keep`` are mapped on their own, all others as part of those that use them. Returns
    module -> cell or module -> number of direct instances, and Yosys's version. The complete log is
    in the file ``log`` afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="nbqnn-yosys-") as folder:
        source, statistics = Path(folder) / "design.v", Path(folder) / "stat.json"
        source.write_text(verilog, encoding="utf-8")
        passes = [
            f'read_verilog "{source}"',
            *(f"setattr -mod -set keep_hierarchy 1 {module}" for module in sorted(keep)),
            f"{_SYNTH[family]} -top {top}",
            f'tee -q -o "{statistics}" stat -json',
        ]
        script = Path(folder) / "passes.json"
        script.write_text(json.dumps(passes), encoding="utf-8")
        lines, code = _run(script, progress)
        write_text(log, "".join(lines).replace(str(source), f"{top}.v"))
        if code != 0:
            errors = [line for line in lines if "ERROR:" in line] or lines[-1:] or [f"exit {code}"]
            message = errors[0].replace(str(source), f"{top}.v").strip()
            raise NbqnnError(f"Yosys must accept the Verilog, but says: {message}")
        result = json.loads(statistics.read_text(encoding="utf-8"))
    cells = {
        _plain(module): {
            _plain(cell): count
            for cell, count in content["num_cells_by_type"].items()
            if cell not in _NOT_HARDWARE
        }
        for module, content in result["modules"].items()
    }
    return cells, " ".join(result["creator"].split()[:2])


def _plain(name: str) -> str:
    """A module's name without the backslash that marks public names in Yosys."""
    return name.removeprefix("\\")


def _run(script: Path, progress: Callable[[str], None]) -> tuple[list[str], int]:
    """Runs the process to its end; all it printed, and its exit code."""
    worker = Path(__file__).with_name("yosys_process.py")
    lines = []
    with subprocess.Popen(
        # -P: the folder of the worker is no place to import from.
        [sys.executable, "-P", str(worker), str(script)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in process.stdout:
                lines.append(line)
                if match := _PASS.match(line):
                    progress(match[1])
        except BaseException:
            process.kill()
            raise
    return lines, process.returncode
