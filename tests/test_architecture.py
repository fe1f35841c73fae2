"""Who may import whom, shown by the linter's contracts, by reading imports and by blocking them."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("nbqnn_train", "hw", "sim", "scripts")
#: Come with a board's system; what imports them says so where they are missing.
ON_BOARDS = ("pynq",)
SOURCES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
#: Lines of a file; CONTRIBUTING says the same.
LONGEST_FILE = 400
#: Longer ones that are still to be split. Nothing is ever added here.
STILL_TOO_LONG: set[str] = set()


def _module(path: Path) -> str:
    """``hw/rtl/array/svpe.py`` -> ``hw.rtl.array.svpe``; ``hw/__init__.py`` -> ``hw``."""
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, within functions too."""
    names = set()
    package = _module(path).split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names.add(".".join([*base, *([node.module] if node.module else [])]))
    return names


def _python(program: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )


def test_contracts_of_the_import_linter_are_kept():
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


def test_training_package_itself_is_empty():
    """Importing the graph runs it, and must not load torch."""
    assert (REPOSITORY / "nbqnn_train" / "__init__.py").read_text().strip() == ""


def test_graph_needs_the_standard_library_and_numpy_only():
    """Allowed is what is listed; the linter's contract can only forbid."""
    for path in (REPOSITORY / "nbqnn_train" / "graph").rglob("*.py"):
        for name in _imports(path):
            top = name.partition(".")[0]
            allowed = top in sys.stdlib_module_names or top == "numpy"
            assert allowed or name.startswith("nbqnn_train.graph"), f"{path} imports {name}"


@pytest.mark.parametrize("package", ["nbqnn_train.graph", "hw", "sim"])
def test_works_where_torch_is_missing(package):
    """Not only never imported directly: every module loads with torch blocked."""
    names = (_module(path) for path in SOURCES)
    modules = [name for name in names if f"{name}.".startswith(f"{package}.")]
    program = f"""
import importlib, sys
for name in ("torch", "lightning", "sklearn", "torchmetrics"):
    sys.modules[name] = None
for name in {modules!r}:
    importlib.import_module(name)
"""
    done = _python(program)
    assert done.returncode == 0, done.stderr


def test_a_board_needs_no_amaranth():
    """What a computer beside the FPGA runs, and what is known of boards, loads with it blocked."""
    packages = ("hw.contract", "hw.compiler", "hw.model", "hw.driver", "hw.boards")
    shells = "hw.boards.shells"
    names = (_module(path) for path in SOURCES)
    modules = [name for name in names if name.startswith(packages) and not name.startswith(shells)]
    program = f"""
import importlib, sys
for name in ("amaranth", "cocotb", "pyosys", "rich", "torch", "typer"):
    sys.modules[name] = None
for name in {modules!r}:
    importlib.import_module(name)
"""
    done = _python(program)
    assert done.returncode == 0, done.stderr


def test_nothing_is_unpickled():
    """A file from anyone must at worst be refused."""
    readers = ("load", "loads", "Unpickler", "open")
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            place = f"{path}:{node.lineno}"
            module, _, function = ast.unparse(node.func).rpartition(".")
            assert not (module in ("pickle", "marshal", "shelve") and function in readers), place
            if (module, function) == ("torch", "load"):
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert options.get("weights_only") == "True", place


def test_no_file_outgrows_one_concept():
    lengths = {
        path.relative_to(REPOSITORY).as_posix(): len(path.read_text("utf-8").splitlines())
        for path in SOURCES
    }
    too_long = {path: n for path, n in lengths.items() if n > LONGEST_FILE}
    new = {path: n for path, n in too_long.items() if path not in STILL_TOO_LONG}
    assert not new, f"split them; at most {LONGEST_FILE} lines: {new}"
    split = STILL_TOO_LONG - set(too_long)
    assert not split, f"short enough now; take them from STILL_TOO_LONG: {split}"
    contributing = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"at most {LONGEST_FILE} lines" in contributing


def test_every_dependency_is_pinned_and_says_what_for():
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    dependencies = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        dependencies += extra
    for dependency in dependencies:
        assert "==" in dependency, dependency
        line = next(line for line in text.splitlines() if f'"{dependency}"' in line)
        assert len(line.partition("#")[2].split()) >= 2, f"{dependency}: a comment must say why"


def test_every_package_that_is_imported_is_declared():
    """By ``pyproject.toml``, or as a requirement of a package that is."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra, dependencies in project["optional-dependencies"].items():
        wanted += dependencies if extra != "dev" else ()
    declared = {_distribution(requirement) for requirement in wanted}
    # Not every extra is installed for the tests.
    installed = {_distribution(package.name) for package in metadata.distributions()}
    for name in declared & installed:
        required = (r for r in metadata.requires(name) or () if "extra ==" not in r)
        declared.update(map(_distribution, required))
    distributions = metadata.packages_distributions()
    for path in SOURCES:
        for module in {name.partition(".")[0] for name in _imports(path)}:
            if module in sys.stdlib_module_names or module in PACKAGES or module in ON_BOARDS:
                continue
            owners = {_distribution(owner) for owner in distributions.get(module, ())}
            assert owners & declared, f"{path} imports {module}, which nothing declares"


def _distribution(requirement: str) -> str:
    """``Amaranth[builtin-yosys]==0.5.10`` -> ``amaranth``."""
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def test_command_line_holds_no_logic():
    """Commands read options and call packages; loops over data belong into those."""
    for path in (REPOSITORY / "scripts" / "commands").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.While | ast.Try), f"{path}:{node.lineno}"
        names = _imports(path)
        assert not {name.partition(".")[0] for name in names} & {"numpy", "torch"}, path
