"""The accelerator's Verilog, read by four tools that did not write it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pyslang import SourceManager
from pyslang.ast import Compilation
from pyslang.syntax import SyntaxTree

from hw.boards.presets import PRESETS
from hw.rtl.accelerator import TOP
from hw.synth import yosys
from sim.verilator import lint
from tests.hw.accelerators import BENCHED, VERILATED, verilog_of

# The smallest preset; two and three pixels, with multipliers in either place; with DSP blocks.
CONFIGS = {
    "tiny": PRESETS["tiny"],
    **{name: BENCHED[name] for name in ("scale_64", "multiply_128")},
    "hybrid_64": VERILATED["hybrid_64"],
}


@pytest.fixture(scope="module", params=CONFIGS)
def verilog(request):
    return verilog_of(CONFIGS[request.param])


def test_verilator_has_nothing_to_say(verilog, tmp_path):
    assert lint(verilog, TOP, tmp_path) == ""


def test_every_module_once(verilog):
    """And used, but for the top."""
    modules = re.findall(r"^module (\w+)\(", verilog, flags=re.MULTILINE)
    assert len(set(modules)) == len(modules)
    assert modules[-1] == TOP
    for name in modules[:-1]:
        assert re.search(rf"^  {name} \S+ \(", verilog, flags=re.MULTILINE), name


def test_no_multiplier_where_none_is_promised(verilog):
    """Shift elements and shift requantizers have none, whatever else the accelerator has."""
    array = re.findall(r"^module nbqnn_svpe.*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
    requantizers = re.findall(
        r"^module nbqnn_requantizer_shift.*?^endmodule", verilog, re.MULTILINE | re.DOTALL
    )
    assert array or "nbqnn_vpe" in verilog
    for text in array + requantizers:
        assert " * " not in text


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
def test_icarus_elaborates(verilog, tmp_path):
    source = tmp_path / "design.v"
    source.write_text(verilog)
    done = subprocess.run(
        ["iverilog", "-g2005", "-t", "null", "-s", TOP, source],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


#: slang's warnings about Verilog out of Amaranth, for the reasons that sim.verilator.WAIVERS gives.
SLANG_WAIVERS = {"ArithOpMismatch", "CaseDefault", "SignConversion", "WidthTruncate"}


def slang_diagnostics(verilog):
    """The top modules that slang finds, and what it has to say beyond the waivers."""
    compilation = Compilation()
    tree = SyntaxTree.fromText(verilog, SourceManager(), "design.v", "design.v")
    compilation.addSyntaxTree(tree)
    codes = {str(item.code)[9:-1] for item in compilation.getAllDiagnostics()}
    return [top.name for top in compilation.getRoot().topInstances], codes - SLANG_WAIVERS


def test_slang_has_nothing_to_say(verilog):
    assert slang_diagnostics(verilog) == ([TOP], set())


def test_slang_would_find():
    """A module, a name and a port that are not there."""
    body = "gone g(a, b); u i(.a(a), .c(b)); assign b = q;"
    text = f"module u(input a); endmodule\nmodule t(input a, output b); {body} endmodule\n"
    tops, codes = slang_diagnostics(text)
    assert tops == ["t"]
    assert {"UnknownModule", "UndeclaredIdentifier", "PortDoesNotExist"} <= codes


def yosys_check(verilog, top, folder):
    """Exit code and output of Yosys' checks, in a process of its own, which an error ends."""
    source, script = folder / "checked.v", folder / "passes.json"
    source.write_text(verilog)
    passes = [
        f"read_verilog {source}",
        f"hierarchy -check -top {top}",
        "proc",
        "check -assert",
        "select -assert-none t:$dlatch t:$adlatch t:$sr t:$dlatchsr",
    ]
    script.write_text(json.dumps(passes))
    worker = Path(yosys.__file__).with_name("yosys_process.py")
    done = subprocess.run(
        [sys.executable, "-P", worker, script],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_yosys_checks(verilog, tmp_path):
    """No latches, loops, undriven or doubly driven nets, no ports that do not exist."""
    code, log = yosys_check(verilog, TOP, tmp_path)
    assert code == 0, log[-2000:]
    assert "Found and reported 0 problems." in log


@pytest.mark.parametrize(
    "body", ["assign b = ~b ^ a;", "reg r; always @* if (a) r = ~a; assign b = r;", "gone g(a, b);"]
)
def test_yosys_would_find(body, tmp_path):
    """A loop, a latch, a module that is not there: the checks above do not pass by themselves."""
    code, log = yosys_check(f"module t(input a, output b); {body} endmodule", "t", tmp_path)
    assert code != 0
    assert "ERROR" in log
