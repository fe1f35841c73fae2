"""Maps modules to cells with Yosys, each module once."""

import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from hw.contract.files import write_text
from hw.synth.hierarchy import direct_instances, module_texts, ports_only, without_kept
from hw.tools.cache import cached_json
from hw.tools.process import first_error, run_python
from nbqnn_train.graph.errors import NbqnnError

__all__ = [
    "MappedDesign",
    "YosysError",
    "map_design",
    "mapped_netlist",
    "pass_name",
    "passes_netlist",
    "slim_netlist",
    "synthesis_passes",
]

#: Passes that dissolve all modules whose contents they know.
_SYNTH = {
    "xcup": "synth_xilinx -family xcup -noiopad -noclkbuf -flatten",
    "xc7": "synth_xilinx -family xc7 -noiopad -noclkbuf -flatten",
    "ecp5": "synth_ecp5",
}
#: What goes before that. A register that is not to be merged with an equal one says so at its
#: signal, but Yosys looks at its cell. (On Xilinx's devices elements are mapped one by one, so none
#: is merged there.) A queue's word takes 5.8 ns to come out of a block memory of an ECP5.
_BEFORE = {
    "ecp5": (
        "proc",
        "setattr -set keep 1 a:keep %ci t:$*ff* %i",
        'setattr -set ram_style "distributed" nbqnn_stream_fifo_*/m:*',
    )
}
#: Passes that write a part of the result to a file.
_STATISTICS = "tee -q -o {} stat -json"
_NETLIST = "write_json {}"
#: Bookkeeping cells of Yosys that stand for no hardware.
_NOT_HARDWARE = ("$scopeinfo",)
_WORKER = Path(__file__).with_name("yosys_process.py")
_PASS = re.compile(r"^\d[\d.]* Executing (.*?)(?: \(.*| pass.*|\.)?$")


class YosysError(NbqnnError):
    """Yosys refused the Verilog; ``log`` is all that it printed."""

    def __init__(self, message: str, log: str):
        super().__init__(message)
        self.log = log


@dataclass(frozen=True, kw_only=True)
class MappedDesign:
    """A design in the cells of a family.

    cells : module -> cell or module -> how many it contains directly.
    version : Yosys's.
    netlists : module -> its slim netlist; empty unless they were asked for.
    """

    cells: dict[str, dict[str, int]]
    version: str
    netlists: dict[str, dict]


def map_design(
    verilog: str,
    top: str,
    family: str,
    *,
    keep: Iterable[str],
    log: Path,
    progress: Callable[[str], None] = lambda step: None,
    netlists: bool = False,
) -> MappedDesign:
    """Maps Verilog text to the cells of a family.

    Each module in ``keep`` is mapped alone, in a process of its own. Other modules are mapped as
    parts of those that use them. A module that was mapped before comes from a cache. The complete
    logs go to the file ``log``. ``netlists`` asks for the modules' netlists too.

    Raises
    ------
    YosysError
        Yosys refuses the Verilog.
    """
    parts = {unit: _unit(verilog, unit, set(keep)) for unit in (top, *sorted(keep))}
    logs = dict.fromkeys(parts, "")

    def one(unit: str) -> dict:
        text, kept = parts[unit]
        passes = [*(f"blackbox {name}" for name in kept), *synthesis_passes(family, unit)]
        passes.append(_NETLIST if netlists else _STATISTICS)

        def run() -> dict:
            try:
                output, logs[unit] = _run(text, passes, unit, progress)
            except YosysError as error:
                logs[unit] = error.log
                raise
            version = " ".join(output["creator"].split()[:2])
            if not netlists:
                found = output["modules"][f"\\{unit}"]["num_cells_by_type"]
                return {"cells": found, "version": version}
            module = output["modules"][unit]
            found = Counter(cell["type"] for cell in module["cells"].values())
            return {"cells": found, "version": version, "netlist": slim_netlist(module)}

        logs[unit] = f"Module {unit} was mapped before.\n"
        return cached_json("yosys", [version("pyosys"), text, *passes], run)

    # The longest text first, so that no long run is left at the end.
    order = sorted(parts, key=lambda unit: -len(parts[unit][0]))
    try:
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            results = dict(zip(order, pool.map(one, order), strict=True))
    finally:
        write_text(log, "".join(logs.values()))
    cells = {
        unit: {
            _plain(cell): count
            for cell, count in result["cells"].items()
            if cell not in _NOT_HARDWARE
        }
        for unit, result in results.items()
    }
    slim = {unit: result["netlist"] for unit, result in results.items()} if netlists else {}
    return MappedDesign(cells=cells, version=results[top]["version"], netlists=slim)


def slim_netlist(module: dict) -> dict:
    """A module as ``write_json`` has it, with what timing needs: a fifth of the size.

    Of the names of nets those that Yosys did not make up, and of the cells no attributes.
    """
    return {
        "ports": module["ports"],
        "netnames": {
            name: {"bits": net["bits"], "init": "init" in net["attributes"]}
            for name, net in module["netnames"].items()
            if not net["hide_name"]
        },
        "cells": {
            name: {
                "type": cell["type"],
                "connections": cell["connections"],
                "port_directions": cell["port_directions"],
                "parameters": {
                    key: value
                    for key, value in cell["parameters"].items()
                    if (key == "INIT" and len(str(value)) <= 64)
                    or key.endswith("REG")
                    or key == "USE_MULT"
                },
            }
            for name, cell in module["cells"].items()
            if cell["type"] not in _NOT_HARDWARE
        },
    }


def synthesis_passes(family: str, top: str) -> list[str]:
    """Yosys' passes that map ``top`` to the cells of a family, everything inside it dissolved."""
    before = (f"hierarchy -top {top}", *_BEFORE[family]) if family in _BEFORE else ()
    return [*before, f"{_SYNTH[family]} -top {top}"]


def mapped_netlist(verilog: str, top: str, family: str, *, keep: Iterable[str], log: Path) -> dict:
    """``top`` with everything inside it, but for the modules in ``keep``, as one mapped module.

    The netlist is as Yosys' ``write_json`` describes it.
    """
    modules, kept = _unit(verilog, top, set(keep))
    passes = [*(f"blackbox {name}" for name in kept), *synthesis_passes(family, top)]
    netlist, lines = _run(modules, [*passes, _NETLIST], top, lambda step: None)
    write_text(log, lines)
    return netlist


def passes_netlist(verilog: str, top: str, passes: Sequence[str]) -> dict:
    """What passes of Yosys make of Verilog, as its ``write_json`` describes it; from a cache.

    Raises :exc:`YosysError` if Yosys refuses the Verilog or a pass.
    """
    commands = [*passes, _NETLIST]

    def run() -> dict:
        return _run(verilog, commands, top, lambda step: None)[0]

    return cached_json("netlist", [version("pyosys"), verilog, *commands], run)


def pass_name(line: str) -> str | None:
    """The pass that Yosys says in a line of its log that it begins; None for any other line."""
    match = _PASS.match(line)
    return match and match[1]


def _unit(verilog: str, top: str, keep: set[str]) -> tuple[str, list[str]]:
    """Verilog of ``top`` with its dissolved modules, and the names of the kept ones.

    Of these it has the ports only. So a change inside one of them maps nothing else again.
    """
    texts = module_texts(verilog)
    dissolved, kept = without_kept(direct_instances(verilog), top, keep - {top})
    texts |= {name: ports_only(texts[name]) for name in kept}
    return "".join(texts[name] for name in texts if name in dissolved | kept), sorted(kept)


def _plain(name: str) -> str:
    """A module's name without the backslash that marks public names in Yosys."""
    return name.removeprefix("\\")


def _run(
    verilog: str, passes: list[str], top: str, progress: Callable[[str], None]
) -> tuple[dict, str]:
    """Runs passes. Returns the JSON that the last one writes, and the log.

    Raises :exc:`NbqnnError` with the log as its ``log`` if Yosys refuses the Verilog.
    """
    with tempfile.TemporaryDirectory(prefix="nbqnn-yosys-") as folder:
        source, written = Path(folder) / "design.v", Path(folder) / "output.json"
        source.write_text(verilog, encoding="utf-8")
        *before, last = passes
        script = Path(folder) / "passes.json"
        commands = [f'read_verilog "{source}"', *before, last.format(f'"{written}"')]
        script.write_text(json.dumps(commands), encoding="utf-8")

        def step(line: str) -> None:
            if name := pass_name(line):
                progress(name)

        code, lines = run_python("Yosys", [_WORKER, script], progress=step, allowed=None)
        log = "".join(lines).replace(str(source), f"{top}.v")
        if code != 0:
            message = first_error(lines).replace(str(source), f"{top}.v")
            raise YosysError(f"Yosys must accept the Verilog, but says: {message}", log)
        return json.loads(written.read_text(encoding="utf-8")), log
