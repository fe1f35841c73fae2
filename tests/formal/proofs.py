"""Proofs by Yosys' own SAT solver, in a process of its own."""

import json
import re
import subprocess
import sys
from pathlib import Path

from hw.synth import yosys

__all__ = ["equivalent", "inverted_tables", "proven"]

#: What the cells of UltraScale+ do, in Yosys' own words.
_CELLS = "read_verilog +/xilinx/cells_sim.v"
_LIMIT_S = 250


def proven(verilog: str, top: str, folder: Path, *, depth: int = 0) -> bool:
    """Whether no assertion in ``top`` ever fails while its assumptions hold.

    ``depth`` 0 is for logic without registers: all inputs. Otherwise all inputs of the first
    ``depth`` cycles, from all states of the registers; port ``rst`` is set in the first cycle only.
    """
    solve = "sat -verify -prove-asserts -set-assumes -show-inputs"
    if depth:
        resets = [f"-set-at {cycle} rst {int(cycle == 1)}" for cycle in range(1, depth + 1)]
        solve = " ".join([solve, f"-seq {depth} -prove-skip 1", *resets])
    passes = [
        f"hierarchy -check -top {top}",
        "proc",
        "flatten",
        "memory_map",
        "chformal -lower",
        "opt",
        solve,
    ]
    return _run(verilog, passes, folder, refusal="proof did fail")


def equivalent(gold: str, gate: str, top: str, folder: Path) -> bool:
    """Whether module ``top`` of either text does the same in every cycle.

    By induction over all states, for modules whose registers have the same names and start alike.
    """
    passes = []
    (folder / "gate.v").write_text(gate, encoding="utf-8")
    for name, source in (("gold", "design.v"), ("gate", "gate.v")):
        passes += [
            "design -reset",
            _CELLS,
            f"read_verilog {folder / source}",
            f"hierarchy -check -top {top}",
            "proc",
            "flatten",
            # Ports of cells that exist in one of the texts only, aliases of its registers.
            "rename -hide w:*.* w:_*_ w:term_* w:total*",
            "dffunmap",
            "opt_clean",
            f"rename {top} {name}",
            f"design -stash {name}",
        ]
    passes += [
        "design -copy-from gold gold",
        "design -copy-from gate gate",
        "equiv_make gold gate equal",
        "hierarchy -top equal",
        "opt -purge",
        "equiv_simple",
        "equiv_induct -seq 2",
        "equiv_status -assert",
    ]
    return _run(gold, passes, folder, refusal="unproven $equiv cells")


def inverted_tables(verilog: str) -> list[str]:
    """The text once for each of its look-up tables, with that table's contents inverted."""

    def inverted(match: re.Match) -> str:
        width, digits = int(match[1]), match[2]
        return f".INIT({width}'h{int(digits, 16) ^ ((1 << width) - 1):x})"

    found = list(re.finditer(r"\.INIT\((\d+)'h([0-9a-f]+)\)", verilog))
    return [verilog[: m.start()] + inverted(m) + verilog[m.end() :] for m in found]


def _run(verilog: str, passes: list[str], folder: Path, *, refusal: str) -> bool:
    """True if all passes succeed, False if one of them ends with the words ``refusal``."""
    source, script = folder / "design.v", folder / "passes.json"
    source.write_text(verilog, encoding="utf-8")
    # Memories then hold anything at first.
    script.write_text(
        json.dumps([_CELLS, f"read_verilog -sv -formal -DSYNTHESIS {source}", *passes])
    )
    worker = Path(yosys.__file__).with_name("yosys_process.py")
    done = subprocess.run(
        [sys.executable, "-P", worker, script],
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    output = done.stdout + done.stderr
    (folder / "yosys.log").write_text(output)
    if done.returncode == 0:
        return True
    assert refusal in output, output[-3000:]
    return False
