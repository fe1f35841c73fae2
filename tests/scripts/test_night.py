"""scripts.night: budgets, what goes on after a stop, the table."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from scripts.night import PARTS, Part, ended_table, run_parts

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
        "from scripts.night import *; from pathlib import Path; import signal\n"
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


def test_three_hours_on_two_cores():
    assert sum(one.minutes for one in PARTS) <= 2 * 180
    assert len({one.name for one in PARTS}) == len(PARTS)
    for one in PARTS:
        for argument in one.command:
            if argument.startswith("tests/"):
                assert (ROOT / argument).exists(), argument
