"""sim.runner: good benches pass; every way to fail is a failure."""

import subprocess
from pathlib import Path

import pytest

from hw.rtl.stream.skid import SkidBuffer
from hw.rtl.verilog import emit
from sim.runner import BenchFailure, run_bench
from sim.verilator import ToolError, _compiler, link, lint, tool_versions, verilate
from tests.nightly import NIGHTLY

BENCH = Path(__file__).with_name("bench_failing.py")


def run(test_filter, **options):
    design = SkidBuffer(8)
    return run_bench(
        emit(design),
        design.module_name,
        BENCH,
        parameters={"answer": 42},
        test_filter=test_filter,
        **options,
    )


def test_a_good_bench():
    assert run("good") == 1


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("wrong", r"failed: wrong[\s\S]*nothing was sent"),
        ("stuck", r"failed: stuck[\s\S]*[Tt]imeout"),
        ("background", r"failed: background[\s\S]*in the background"),
        ("(good|wrong)", "1 passed, failed: wrong"),
        ("no_such_case", "0 passed"),
    ],
)
def test_failures(case, message):
    with pytest.raises(BenchFailure, match=message):
        run(case)


def test_time_limit():
    with pytest.raises(BenchFailure, match=r"^bench_failing\.py took more than 3 s"):
        run("endless", timeout_s=3)


def test_a_module_that_cannot_be_imported(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module")
    design = SkidBuffer(8)
    with pytest.raises(BenchFailure, match="no_such_module"):
        run_bench(emit(design), design.module_name, broken)


def test_bad_verilog(tmp_path):
    with pytest.raises(ToolError, match=r"^verilator_bin ended with code 1: %Error: design\.v:1:"):
        verilate("module top(;", "top", tmp_path)


def test_no_compiler(monkeypatch, tmp_path):
    """One line that says what to do."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    _compiler.cache_clear()
    try:
        with pytest.raises(ToolError, match=r"'no-such-compiler' was not found: apt install g\+\+"):
            link([], tmp_path / "output")
    finally:
        _compiler.cache_clear()


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """Nothing is on the path: no compiler, no perl, no make. No simulator was built before."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("NBQNN_CACHE", str(tmp_path / "cache"))
    for cached in (_compiler, tool_versions):
        cached.cache_clear()
    yield
    for cached in (_compiler, tool_versions):
        cached.cache_clear()


@pytest.mark.skipif(not NIGHTLY, reason="compiles its own library for a minute")
@pytest.mark.usefixtures("bare")
def test_the_compiler_of_a_package(tmp_path):
    assert "ziglang" in _compiler()
    source = tmp_path / "main.cpp"
    source.write_text(
        "#include <iostream>\n#include <vector>\n"
        'int main() { std::vector<int> a(3, 7); std::cout << a.size() * a[2] << "\\n"; }\n'
    )
    link([source], tmp_path / "main")
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "21\n"


@pytest.mark.usefixtures("bare")
@pytest.mark.skipif(not NIGHTLY, reason="compiles the simulator's library for a minute")
def test_a_bench_on_a_bare_machine():
    assert run("good") == 1


def test_lint_sees_what_is_not_waived(tmp_path):
    text = "module top(input a, output reg b); always @* if (a) b = 1; endmodule"
    assert "LATCH" in lint(text, "top", tmp_path)
