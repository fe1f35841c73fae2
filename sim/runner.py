"""Runs cocotb benches under Verilator, with built simulators kept between runs.

A bench is a module of ``@cocotb.test`` functions. The simulator is built once for each Verilog
text; the cases of a bench, and their stimuli, share it.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from hw.tools.cache import cached_folder, keep_only
from sim.verilator import compile_model, link, tool_versions, verilate

__all__ = ["BenchFailure", "build_simulator", "parameters", "run_bench"]

_PARAMETERS = "NBQNN_BENCH_PARAMETERS"


class BenchFailure(AssertionError):
    """A case of a bench failed, or the simulator ended early; the message holds its log."""


def build_simulator(verilog: str, top: str, *, waves: bool = False) -> Path:
    """The program that simulates ``top`` under cocotb. It is built unless it was built before.

    A bench reaches the signals of ``top``, not those of the modules within.
    """
    import cocotb_tools.config

    main = Path(cocotb_tools.config.share_dir) / "lib" / "verilator" / "verilator.cpp"
    libraries = cocotb_tools.config.libs_dir

    def build(folder: Path) -> None:
        # Benches use the ports of the top module only. With all signals in reach, nothing would be
        # optimized away, and compiling would take three times as long.
        flags = ["--vpi", "--public-depth", "1", "--timescale", "1ns/1ps"]
        verilate(verilog, top, folder, [*flags, *(["--trace-vcd"] if waves else [])])
        objects = compile_model(
            folder,
            own_sources=[main],
            optimize="-O1",
            flags=[f"-DVM_TRACE={int(waves)}", f"-DVM_TRACE_VCD={int(waves)}"],
            runtime=["verilated_vpi.cpp", *(["verilated_vcd_c.cpp"] if waves else [])],
        )
        search = [f"-L{libraries}", f"-Wl,-rpath,{libraries}"]
        link(objects, folder / "simulator", [*search, "-lcocotbvpi_verilator"])
        keep_only(folder, "simulator", "design.v")

    parts = (
        "cocotb, ports",
        tool_versions(),
        str(libraries),
        main.read_bytes(),
        str(waves),
        top,
        verilog,
    )
    return cached_folder(f"bench-{top}", parts, build) / "simulator"


def run_bench(
    verilog: str,
    top: str,
    bench: Path | str,
    *,
    parameters: Mapping[str, object] | None = None,
    timeout_s: float = 120,
    seed: int = 1,
    test_filter: str | None = None,
    waves: bool = False,
) -> int:
    """Builds the simulator and runs all cases of a bench.

    Parameters
    ----------
    verilog : str
        The design.
    top : str
        Its top module.
    bench : Path
        Python file with the cases; its folder is put on the module path.
    parameters : mapping, optional
        Values that the bench gets from :func:`parameters`; anything that JSON can hold.
    timeout_s : float
        Limit of wall-clock time for all cases together, without the build.
    seed : int
        Seed of ``random`` in the bench.
    test_filter : str, optional
        Regular expression that chooses cases by name.
    waves : bool
        Write ``dump.vcd`` into the current folder.

    Returns
    -------
    int
        How many cases passed; at least 1.

    Raises
    ------
    BenchFailure
        A case failed, none ran, or time ran out.
    """
    import cocotb_tools.config
    import find_libpython

    bench = Path(bench)
    simulator = build_simulator(verilog, top, waves=waves)
    with tempfile.TemporaryDirectory(prefix="nbqnn-bench-") as folder:
        results = Path(folder) / "results.xml"
        paths = [bench.parent.absolute(), *(path or Path.cwd() for path in sys.path)]
        gpi_users = (find_libpython.find_libpython(), cocotb_tools.config.pygpi_entry_point())
        environment = os.environ | {
            "GPI_USERS": ";".join(map(str, gpi_users)),
            "PYGPI_PYTHON_BIN": sys.executable,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COCOTB_TOPLEVEL": top,
            "COCOTB_TEST_MODULES": bench.stem,
            "COCOTB_RESULTS_FILE": str(results),
            "COCOTB_RANDOM_SEED": str(seed),
            "COCOTB_TRUST_INERTIAL_WRITES": "1",
            "COCOTB_LOG_LEVEL": os.environ.get("COCOTB_LOG_LEVEL", "WARNING"),
            "COCOTB_ANSI_OUTPUT": "0",
            "TOPLEVEL_LANG": "verilog",
            _PARAMETERS: json.dumps(dict(parameters or {})),
        }
        if test_filter is not None:
            environment["COCOTB_TEST_FILTER"] = test_filter
        try:
            done = subprocess.run(
                [simulator, *(["--trace", "--trace-file", "dump.vcd"] if waves else [])],
                cwd=Path.cwd() if waves else folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            log = expired.stdout or b""
            log = log.decode(errors="replace") if isinstance(log, bytes) else log
            raise BenchFailure(f"{bench.name} took more than {timeout_s} s\n{log}") from None
        passed, failed = _count(results)
    if failed or not passed or done.returncode:
        raise BenchFailure(
            f"{bench.name}: {passed} passed, failed: {', '.join(failed) or 'none'}, "
            f"simulator's exit code {done.returncode}\n{done.stdout}"
        )
    return passed


def parameters() -> dict[str, object]:
    """For benches: the ``parameters`` of the call of :func:`run_bench`."""
    return json.loads(os.environ.get(_PARAMETERS, "{}"))


def _count(results: Path) -> tuple[int, list[str]]:
    """Number of cases that passed, and the names of those that failed."""
    if not results.is_file():
        return 0, ["no results were written"]
    passed, failed = 0, []
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(case.get("name", "?"))
        elif case.find("skipped") is None:
            passed += 1
    return passed, failed
