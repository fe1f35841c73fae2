"""hw.rtl.generate: the files of a build, the same bytes from every process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hw.boards.presets import PRESETS, load_config
from hw.rtl.generate import accelerator_verilog, generate
from nbqnn_train.graph import NbqnnError

TINY = PRESETS["tiny"]
ROOT = Path(__file__).parents[3]
FILES = ["hw.json", "nbqnn_registers.h", "registers.md", "rtl/nbqnn.v"]
_GENERATE = """
import sys
from hw.boards.presets import PRESETS
from hw.rtl.generate import generate
generate(PRESETS["tiny"], sys.argv[1])
"""


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build")
    paths = generate(TINY, folder)
    assert sorted(str(path.relative_to(folder)) for path in paths) == FILES
    return folder


def test_files(build):
    assert list(contents(build)) == FILES
    assert load_config(path=build / "hw.json") == TINY
    assert json.loads((build / "hw.json").read_text())["lanes"] == TINY.lanes


@pytest.mark.parametrize("seed", ["0", "4321"])
def test_same_bytes_from_another_process(build, tmp_path, seed):
    """Whatever the order of sets, the folder and the user's language."""
    subprocess.run(
        [sys.executable, "-c", _GENERATE, tmp_path],
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "LANG": "C"},
        cwd=tmp_path,
        check=True,
        timeout=120,
    )
    assert contents(tmp_path) == contents(build)


def test_same_text_again(build):
    assert accelerator_verilog(TINY) == (build / "rtl" / "nbqnn.v").read_text()


def test_nothing_of_this_machine(build):
    for name, content in contents(build).items():
        text = content.decode()
        assert str(ROOT) not in text, name
        assert sys.prefix not in text, name
        assert "\r" not in text, name


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "build").write_text("precious")
    with pytest.raises(NbqnnError, match=r"^file '.*build/.*' cannot be written: "):
        generate(TINY, tmp_path / "build")
    assert (tmp_path / "build").read_text() == "precious"
