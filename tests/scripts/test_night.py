"""scripts.night: budgets, what goes on after a stop, the table."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from hw.tools.cluster import LOCAL, Cluster
from nbqnn_train.graph.errors import NbqnnError
from scripts.night import PARTS, ended_table, run_parts
from scripts.night_part import Part, run_on_worker

ROOT = Path(__file__).parents[2]


def part(name, code, minutes=1.0):
    return Part(name, ("-c", code), minutes, r"did \d+")


def test_outcomes_and_what_goes_on(tmp_path):
    count = tmp_path / "count"
    again = f"open({str(count)!r}, 'a').write('x')"
    parts = [
        part("good", f"print('did 3'); print('did 4'); {again}"),
        part("bad", "raise SystemExit('did 0')"),
        part("busy", "import time\nwhile time.process_time() < 4: pass\nprint('did 1')"),
        part("endless", "import time; print('did 7', flush=True); time.sleep(60)", 0.05),
    ]
    seen = []
    ended = run_parts(parts, tmp_path / "night", progress=seen.append)
    assert [(one.name, one.outcome, one.did) for one in ended] == [
        ("good", "passed", "did 4"),
        ("bad", "failed", "did 0"),
        ("busy", "passed", "did 1"),
        ("endless", "stopped", "did 7"),
    ]
    assert sorted(one.name for one in seen) == ["bad", "busy", "endless", "good"]
    assert 0.06 < ended[2].cpu_minutes < 0.2 > ended[3].cpu_minutes
    # Nothing runs twice; what was not there yet does.
    more = [*parts, part("more", "print('did 1')")]
    assert [one.outcome for one in run_parts(more, tmp_path / "night")][-1] == "passed"
    assert count.read_text() == "x"
    # A line that was cut off is as none.
    state = tmp_path / "night" / "state.jsonl"
    lines = state.read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["name"] != "good"]
    cut = next(line for line in lines if json.loads(line)["name"] == "good")[:-3]
    state.write_text("\n".join([*kept, cut]))
    run_parts(more, tmp_path / "night")
    assert count.read_text() == "xx"
    run_parts(more, tmp_path / "night")
    assert count.read_text() == "xx"
    table = Console(width=200)
    with table.capture() as shown:
        table.print(ended_table(parts, ended[:1]))
    assert "good" in shown.get()
    assert "not run" in shown.get()


def test_an_interrupt_ends_what_runs(tmp_path):
    """Ctrl-C: the parts under way end at once and have no result."""
    program = (
        "from scripts.night import run_parts; from scripts.night_part import Part\n"
        "from pathlib import Path; import signal\n"
        # A shell may start what runs in its background with interrupts ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sleep = ('-c', 'import time; time.sleep(60)')\n"
        f"run_parts([Part('a', sleep, 1), Part('b', sleep, 1)], Path({str(tmp_path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.PIPE)
    while not (tmp_path / "b.log").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=50)
    assert b"KeyboardInterrupt" in errors
    assert not (tmp_path / "state.jsonl").exists()


def is_there(pid: int) -> bool:
    """Whether the process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_parts_are_pieces_for_a_cluster(tmp_path):
    """The same outcomes and logs; and nothing is left of a part whose worker has ended."""
    once = tmp_path / "pid"
    parts = [
        part("good", "print('did 3')"),
        part("bad", "raise SystemExit('did 0')"),
        # The first time it runs until its worker is killed, the second time it is done at once.
        part(
            "lost",
            f"import os, pathlib, time; once = pathlib.Path({str(once)!r})\n"
            "if not once.exists():\n"
            "    once.with_suffix('.new').write_text(f'{os.getpid()} {worker}')\n"
            "    once.with_suffix('.new').rename(once); time.sleep(60)\n"
            "print('did 9')",
        ),
    ]
    find = "import os; worker = int(open(f'/proc/{os.getppid()}/stat').read().split()[3])\n"
    parts[2] = replace(parts[2], command=("-c", find + parts[2].command[1]))

    def kill() -> None:
        while not once.exists():
            time.sleep(0.05)
        os.kill(int(once.read_text().split()[1]), signal.SIGKILL)

    killing = threading.Thread(target=kill, daemon=True)
    killing.start()
    with Cluster(LOCAL) as cluster:
        ended = run_parts(parts, tmp_path / "night", cluster=cluster)
    assert [(one.name, one.outcome, one.did) for one in ended] == [
        ("good", "passed", "did 3"),
        ("bad", "failed", "did 0"),
        ("lost", "passed", "did 9"),
    ]
    assert Path(ended[1].log) == tmp_path / "night" / "bad.log"
    assert Path(ended[1].log).read_text() == "did 0\n"
    until = time.monotonic() + 20
    while is_there(int(once.read_text().split()[0])):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_worker_with_other_tests_is_refused():
    with pytest.raises(NbqnnError, match=r"^Workers of the nightly run must .*"):
        run_on_worker("0" * 64, part("a", "pass"))


def test_every_random_test_runs_at_night():
    """With examples of its own; by day all of them are the same ones."""
    said = [argument for one in PARTS for argument in one.command if argument.startswith("tests/")]
    at_night = {file for name in said for file in ([ROOT / name, *(ROOT / name).rglob("*.py")])}
    # Fuzzers have the files of strangers; strategies are used by others.
    elsewhere = {ROOT / "tests/fuzz/test_targets.py", ROOT / "tests/graph/strategies.py"}
    found = {
        file
        for file in (ROOT / "tests").rglob("*.py")
        if re.search(r"^ *@given", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    assert found - elsewhere <= at_night


def test_three_hours_on_two_cores():
    assert sum(one.minutes for one in PARTS) <= 2 * 180
    assert len({one.name for one in PARTS}) == len(PARTS)
    for one in PARTS:
        for argument in one.command:
            if argument.startswith("tests/"):
                assert (ROOT / argument).exists(), argument
