"""All commands that write: each file is whole under its name, at each step and on a full disk.

Here a command runs once, and its files are looked at before each step that changes a folder: that
is what a kill at this step would leave. ``test_interrupted`` does kill some of them.
"""

import os
import resource
import shutil
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import hw.rtl.verilog
from nbqnn_train.graph import save
from nbqnn_train.qonnx import export_qonnx
from scripts.cli import main
from tests.cli.networks import small_graph
from tests.cli.test_interrupted import check, visible
from tests.cli.test_quantize import NETWORK
from tests.hw.spatial.test_network import dense_graph

_MODEL = ["--model", "network.py:build"]
_JSON = ["--json", "out/result.json"]
_TRAIN = ["train", "--model", "digits", "--data", "digits", "--epochs", "1", "--batch-size", "256"]
#: Name -> a command that writes into the folder ``out``.
COMMANDS = {
    "import": ["import", "model.onnx", "-o", "out/graph", *_JSON],
    "quantize": ["quantize", *_MODEL, "--input", "x.npy", "-o", "out/graph", *_JSON],
    "predict": ["predict", "graph", "x.npy", *_JSON],
    "check": ["check", *_MODEL, "--shape", "1,8,8", "--preset", "tiny", *_JSON],
    "inspect": ["inspect", "graph", *_JSON],
    "export": ["export", "run", "-o", "out/graph", "--qonnx", "out/model.onnx"],
    "train": [*_TRAIN, "--out", "out/run"],
    "spatial": ["generate", "--spatial", "dense", "-o", "out"],
}
#: Logs of a training grow; nothing reads them back.
_LOGS = ("events.out", "metrics.csv", "hparams.yaml")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """What the commands read."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "network.py").write_text(NETWORK)
    save(small_graph(), folder / "graph")
    save(dense_graph(), folder / "dense")
    export_qonnx(small_graph(), folder / "model.onnx")
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(40, 1, 8, 8)).astype("f4"))
    assert main([*_TRAIN, "--out", str(folder / "run")]) == 0
    return folder


@pytest.fixture
def place(inputs, tmp_path, monkeypatch):
    """A folder with all inputs, and the empty folder ``out``."""
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


class _Watch:
    """Calls ``look(event, paths)`` before each step in ``out``, while it is active."""

    def __init__(self):
        self.look = None
        # Hooks stay until the process ends.
        sys.addaudithook(self._seen)

    def _seen(self, event, arguments):
        if self.look is None or event not in ("open", "os.mkdir", "os.rename", "os.remove"):
            return
        if event == "open" and not _writes(*arguments[1:]):
            return
        paths = arguments[: 2 if event == "os.rename" else 1]
        paths = [Path(os.fsdecode(one)).absolute() for one in paths if not isinstance(one, int)]
        here = Path("out").absolute()
        inside = [path.relative_to(here) for path in paths if path.is_relative_to(here)]
        if inside:
            look, self.look = self.look, None
            try:
                look(event, inside)
            finally:
                self.look = look


def _writes(mode, flags) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


@pytest.fixture(scope="module")
def watch():
    return _Watch()


def kept(files):
    return {path: data for path, data in files.items() if not any(log in path for log in _LOGS)}


@pytest.mark.parametrize("name", COMMANDS)
def test_files_are_whole_at_every_step(place, watch, name):
    """What is new is not written under its name, but renamed to it; what was there stays."""
    command = COMMANDS[name]
    if name != "train":
        # Written over something else, as another version of the same result.
        assert main(command) == 0
        for path in visible():
            Path(path).write_bytes(b"something else")
    old, states = visible(), []

    def look(event, paths):
        if event == "open":
            hidden = any(part.startswith(".") for part in paths[0].parts)
            assert hidden or any(log in str(paths[0]) for log in _LOGS), paths[0]
        states.append(kept(visible()))

    watch.look = look
    try:
        code = main(command)
    finally:
        watch.look = None
    assert code == 0
    new = visible()
    assert old.keys() <= new.keys()
    assert old != new
    # Each file is as it was or as it will be; of a checkpoint there is one after the other.
    for state in states:
        assert old.keys() <= state.keys() <= new.keys() | old.keys()
        for path, content in state.items():
            assert name == "train" or content in (old.get(path), new[path]), path
    assert len(states) > 1


@contextmanager
def largest_file(size):
    """No file grows beyond so many bytes: a stand-in for a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk(place, name, capsys, monkeypatch):
    """One line, code 2, and no file is half there."""
    command = COMMANDS[name]
    # Yosys has files of its own; what it wrote before the disk was full it writes again.
    written = cache(hw.rtl.verilog._write_verilog)
    monkeypatch.setattr(hw.rtl.verilog, "_write_verilog", lambda texts: written(tuple(texts)))
    assert main(command) == 0
    new = visible()
    shutil.rmtree("out")
    Path("out").mkdir()
    for size in (0, min(map(len, new.values())) - 1):
        capsys.readouterr()
        with largest_file(size):
            code = main(command)
        error = capsys.readouterr().err
        assert code == 2, (size, error)
        *_, line = error.splitlines()
        assert line.startswith("nbqnn: error: "), error
        if name != "train":
            check({}, new)
        assert not list(Path("out").rglob(".*"))
