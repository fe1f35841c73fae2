"""--cluster: what commands say and leave behind, and what is left of them when they are stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hw.boards.presets import PRESETS
from hw.compiler import compile_graph
from hw.contract.program import save_program
from nbqnn_train.graph import save
from tests.cli.networks import small_graph

_ROOT = Path(__file__).parents[2]
_LIMIT_S = 60


@pytest.fixture
def graph(tmp_path):
    save(small_graph(), tmp_path / "graph")
    return tmp_path / "graph"


class Exploring:
    """``nbqnn explore --cluster local``, without an end, in a group of processes of its own."""

    def __init__(self, folder: Path):
        self.journal = folder / "found" / "cycles.jsonl"
        command = ["-m", "scripts.cli", "explore", "graph", "--board", "zcu102", "-o", "found"]
        # What a shell starts in its background ignores interrupts, and so would its children.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            [sys.executable, *command, "--most", "100000", "--cluster", "local", "--json", "json"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(_ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        signal.signal(signal.SIGINT, before)

    def counted(self) -> int:
        return len(self.journal.read_text().splitlines()) if self.journal.exists() else 0

    def is_left(self) -> bool:
        """Whether a process of the group is there, other than one that waits to be collected."""
        for folder in Path("/proc").iterdir():
            try:
                state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            except (OSError, ValueError):
                continue
            if int(group) == self.process.pid and state != "Z":
                return True
        return False


def until(reached) -> None:
    end = time.monotonic() + _LIMIT_S
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def exploring(tmp_path, graph):
    running = Exploring(tmp_path)
    try:
        until(lambda: running.counted() > 20)
        yield running
    finally:
        if running.is_left():
            os.killpg(running.process.pid, signal.SIGKILL)
        running.process.communicate()


def test_an_interrupt_ends_all_processes_and_keeps_what_there_is(exploring, tmp_path):
    """From the keyboard it goes to every process of the group."""
    os.killpg(exploring.process.pid, signal.SIGINT)
    out, err = exploring.process.communicate(timeout=_LIMIT_S)
    assert exploring.process.returncode == 130, err
    assert "it was interrupted; the same command goes on" in out
    assert err.startswith("cluster local: ")
    assert "dashboard at http://127.0.0.1:" in err
    assert len(err.splitlines()) == 1, err
    result = json.loads((tmp_path / "json").read_text())
    assert not result["complete"]
    assert result["candidates"]
    # Results are kept as they come, and counted in the order of the configurations.
    assert 0 < result["compiled"] <= exploring.counted()
    until(lambda: not exploring.is_left())


def test_workers_end_with_the_command(exploring):
    """However it ends."""
    exploring.process.kill()
    until(lambda: not exploring.is_left())


def test_simulate_on_this_machines_cores(nbqnn, tmp_path):
    x = np.random.default_rng(5).normal(0, 2, (3, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    save_program(compile_graph(small_graph(), PRESETS["tiny"]), tmp_path / "program")
    outcome = nbqnn("simulate", "program", "--input", "x.npy", "--cluster", "local")
    assert outcome.code == 0, outcome
    assert "3 images, 0 mismatches" in outcome.out
    assert "dashboard at http" in outcome.err


def test_refusals(nbqnn, graph, monkeypatch, tmp_path):
    explore = ("explore", graph, "--board", "zcu102")
    outcome = nbqnn(*explore, "--cluster", "here")
    assert outcome.code == 2
    assert outcome.err.startswith("nbqnn: error: cluster must be local or the address of a")
    assert len(outcome.err.splitlines()) == 1
    (tmp_path / "build").mkdir()
    np.save(tmp_path / "x.npy", np.zeros((1, 64), np.float32))
    outcome = nbqnn("simulate", "build", "--input", "x.npy", "--cluster", "local")
    assert (outcome.code, outcome.err) == (
        2, "nbqnn: error: a circuit is simulated on this machine, without --cluster\n"
    )  # fmt: skip
    monkeypatch.delitem(sys.modules, "hw.tools.cluster", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    outcome = nbqnn(*explore, "--cluster", "local")
    assert (outcome.code, outcome.err) == (
        2,
        "nbqnn: error: --cluster needs distributed, which is not installed; "
        "remedy: pip install 'nbqnn[cluster]'\n",
    )
