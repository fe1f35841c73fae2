"""hw.tools.work, hw.tools.cluster: the same results everywhere, whatever happens to workers."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading

import dask
import pytest
from distributed.utils import LoopRunner, sync

from hw.tools import cluster as cluster_module
from hw.tools.cluster import Cluster, sources_digest
from hw.tools.process import ToolError
from hw.tools.work import HereWork, ProcessWork
from nbqnn_train.graph.errors import NbqnnError
from tests.hw.tools.pieces import end_worker, refuse, scaled, slowly, small_cluster


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with two workers, each a process."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 2}),
        small_cluster(2) as own,
    ):
        yield own.scheduler_address


@pytest.fixture
def cluster(scheduler):
    with Cluster(scheduler) as connected:
        yield connected


def test_results_are_the_same_everywhere_and_in_order(cluster):
    pieces = list(range(100))
    wanted = [7 * piece for piece in pieces]
    for work in (HereWork(scaled, 7), ProcessWork(scaled, 7, 2), cluster.work(scaled, 7)):
        with work:
            come = []
            assert list(work.results(pieces, lambda *one, come=come: come.append(one))) == wanted
            assert sorted(come) == list(enumerate(wanted))
            # The same work takes more pieces.
            assert list(work.results([5, 3])) == [35, 21]
            assert list(work.results([])) == []


def test_pieces_wait_here_until_there_is_room(cluster, monkeypatch):
    """Pieces are made when they are sent, so that many take no memory."""
    monkeypatch.setattr(cluster_module, "_LEAST_AT_HAND", 8)
    made = []
    with cluster.work(scaled, 2) as work:
        results = work.results(made.append(n) or n for n in range(50))
        assert next(results) == 0
        assert len(made) < 30
        assert list(results) == list(range(2, 100, 2))
    assert made == list(range(50))


def test_pieces_of_lost_workers_run_elsewhere(cluster):
    """One worker is killed, then both at once: what they share is sent again."""
    with cluster.work(slowly, 0.05) as work:
        ended = set()

        def kill(number, result):
            if number == 4 or (number > 10 and len(ended) == 1):
                ended.add(result[1])
                os.kill(result[1], signal.SIGKILL)

        results = list(work.results(range(30), kill))
        assert [piece for piece, _ in results] == list(range(30))
        assert len(ended) == 2
        assert {process for _, process in results} - ended, "others must have gone on"


def test_a_piece_that_ends_every_worker_is_named(cluster):
    with (
        cluster.work(end_worker, 1) as work,
        pytest.raises(NbqnnError, match=r"^piece [01], .*, has ended 3 workers, .* logs tell$"),
    ):
        list(work.results([0, 1]))
    with (
        ProcessWork(end_worker, 1, 1) as work,
        pytest.raises(ToolError, match=r"^A process that computes was ended from outside"),
    ):
        list(work.results([0, 1]))


def test_errors_of_pieces_are_the_callers(cluster):
    for work in (HereWork(refuse, 2), ProcessWork(refuse, 2, 1), cluster.work(refuse, 2)):
        with work, pytest.raises(NbqnnError, match=r"^piece must not be 2$"):
            list(work.results([0, 1, 2, 3]))
    with cluster.work(scaled, 2) as work, pytest.raises(TypeError, match="unsupported operand"):
        list(work.results([None]))


def test_a_scheduler_that_ends_is_told():
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        small_cluster(1) as own,
    ):

        def end(number, result):
            if number == 2:
                own.close()

        with (
            Cluster(own.scheduler_address) as cluster,
            cluster.work(slowly, 0.02) as work,
            pytest.raises(NbqnnError, match=r"^cluster must go on until the end, but "),
        ):
            list(work.results(range(200), end))


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("nowhere", r"missing port number in address 'nowhere'"),
        ("http://host:80", r"unknown address scheme 'http' .*"),
        ("silent", "TimeoutError"),
        ("stranger", ".*"),
    ],
)
def test_what_is_no_scheduler_is_refused_in_time(where, reason, monkeypatch):
    monkeypatch.setattr(cluster_module, "_ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        if where in ("silent", "stranger"):
            where = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        message = (
            "^cluster must be local or the address of a scheduler that answers within 0.5 s, such "
            rf"as tcp://host:8786, not '{where}' \({reason}\)$"
        )
        with pytest.raises(NbqnnError, match=message):
            Cluster(where)


#: A worker whose nbqnn is missing, or another.
_WORKER = """
import sys
import threading
import time
{change}
from distributed.cli.dask_worker import main
main([{address!r}, "--no-nanny", "--no-dashboard", "--name", "unsuitable"], standalone_mode=False)
"""
_CHANGES = {
    "another one": "import hw.tools.cluster as c; c.sources_digest.__wrapped__; "
    "c.sources_digest = lambda: 'other'",
    "No module named 'hw": "sys.modules['hw'] = None",
}


@pytest.mark.parametrize("what", _CHANGES)
def test_workers_with_other_sources_are_refused(scheduler, what):
    program = _WORKER.format(change=_CHANGES[what], address=scheduler)
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            if "Starting established connection" in line:
                break
        with pytest.raises(NbqnnError) as refused:
            Cluster(scheduler)
    finally:
        process.kill()
        process.communicate()
    assert str(refused.value).startswith("cluster must have the same nbqnn everywhere as here, but")
    assert what in str(refused.value)


def test_a_change_of_any_source_is_another_digest(monkeypatch, tmp_path):
    for name in ("hw", "sim"):
        (tmp_path / name).mkdir()
    (tmp_path / "hw" / "__init__.py").write_text("")
    monkeypatch.setattr("hw.tools.cluster.hw.__file__", str(tmp_path / "hw" / "__init__.py"))
    digests = set()
    for file, text in (("hw/a.py", "1"), ("hw/a.py", "2"), ("sim/b.cpp", "1"), ("sim/c.md", "1")):
        (tmp_path / file).write_text(text)
        digests.add(sources_digest.__wrapped__())
    assert len(digests) == 3


def test_an_interrupt_before_anything_began_leaves_no_traceback(caplog):
    """distributed then has nothing to cancel, and says so with a traceback."""
    running = LoopRunner(asynchronous=False)
    running.start()
    interrupted = threading.Event()
    # A shell that runs the tests in the background has interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        running.loop.add_callback(interrupted.wait, 30)  # what follows cannot begin meanwhile
        main = threading.main_thread().ident
        threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            sync(running.loop, asyncio.sleep, 0)
        interrupted.set()
        sync(running.loop, asyncio.sleep, 0.1)
    finally:
        signal.signal(signal.SIGINT, before)
        interrupted.set()
        running.stop()
    assert not caplog.records
