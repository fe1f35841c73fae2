"""On a board: NumPy alone, and Python 3.10."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from hw.boards.presets import PRESETS
from hw.compiler import compile_graph, save_program
from hw.contract.isa import Region
from tests.cli.networks import small_graph

ROOT = Path(__file__).parents[3]
#: Imports whatever a board has, and nothing else; runs a program as far as there is no accelerator.
BOARD = """
import sys

class Board:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        has = sys.stdlib_module_names - {"tomllib"} | {"numpy", "hw", "nbqnn_train"}
        if top not in has:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Board())
import numpy as np
from hw.contract.program import load_program
from hw.contract.registers import IDENTITY, REGISTERS, VERSION
from hw.driver import AcceleratorError, Buffer, Driver, DevMemBus, PynqBus, UDmaBufBus, UartBus

program = load_program(sys.argv[1])

class Bus:
    def read(self, offset):
        return {
            REGISTERS.identity.offset: IDENTITY,
            REGISTERS.version.offset: VERSION,
            REGISTERS.digest.offset: program.config.digest,
        }.get(offset, 0)

    def write(self, offset, value):
        pass

    def allocate(self, size):
        return Buffer(np.zeros(size, np.uint8), 4096)

    def wait(self):
        return False

try:
    Driver(Bus(), program).run(np.zeros((1, 1, 8, 8), np.float32))
except AcceleratorError as error:
    print(error)
from hw.boards.presets import load_config
try:
    load_config(path=sys.argv[2])
except Exception as error:
    print(error)
print(*(m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] in ("hw", "nbqnn_train")
        and m.__file__), sep="\\n")
"""
#: Of the standard library since Python 3.11.
NEW_NAMES = {
    "ExceptionGroup", "BaseExceptionGroup", "Self", "StrEnum", "LiteralString", "Never",
    "assert_never", "assert_type", "reveal_type", "TaskGroup", "UTC", "chdir", "verify",
    "Required", "NotRequired", "TypeVarTuple", "Unpack", "dataclass_transform", "cbrt", "exp2",
    "add_note", "file_digest", "batched", "walk",
}  # fmt: skip


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """What the board printed: messages, then the files of the modules that it loaded."""
    folder = tmp_path_factory.mktemp("board")
    save_program(compile_graph(small_graph(), PRESETS["tiny"]), folder / "program")
    (folder / "hw.toml").write_text('name = "mine"\n')
    done = subprocess.run(
        [sys.executable, "-c", BOARD, folder / "program", folder / "hw.toml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_numpy_alone(board):
    """The driver works; a TOML file is refused in one line where Python cannot read it."""
    late = "the run ended with no interrupt in time at command 0"
    assert board[0] == f"{late}; remedy: a longer time_limit_s of the bus"
    assert board[1] == "TOML needs Python 3.11; remedy: the same fields as JSON"
    assert len(board) > 20
    assert len(Region) == 5


def test_python_3_10(board):
    """No syntax and no name of the standard library that came later."""
    for file in board[2:]:
        tree = ast.parse(Path(file).read_text(), file, feature_version=(3, 10))
        for node in ast.walk(tree):
            names = {
                ast.Name: lambda node: node.id,
                ast.Attribute: lambda node: node.attr,
                ast.alias: lambda node: node.name,
            }
            if type(node) in names:
                assert names[type(node)](node) not in NEW_NAMES, f"{file}:{node.lineno}"
            assert not isinstance(node, ast.TryStar), f"{file}:{node.lineno}"
