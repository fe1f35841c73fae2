"""``scripts/nightly``: tests that take too long for every change, in three hours on two cores."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING

from rich.table import Table

from hw.contract.files import write_text
from hw.contract.origin import source_commit
from nbqnn_train.graph.errors import NbqnnError
from scripts.clusters import connected
from scripts.lines import append_line, read_lines
from scripts.night_part import Ended, Part, run_here, run_on_worker, tests_digest
from scripts.output import console

if TYPE_CHECKING:
    from hw.tools.cluster import Cluster

__all__ = ["PARTS", "ended_table", "run_parts"]

_ROOT = Path(__file__).parents[1]
_FOLDER = _ROOT / "build" / "nightly"
#: Number of parts that run at the same time. Each keeps one core busy.
_AT_ONCE = 2
#: Seconds of each fuzzer.
_FUZZ_S = 600
_PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=1200")


def _tests(name: str, minutes: float, *paths: str) -> Part:
    return Part(name, (*_PYTEST, *paths), minutes)


def _fuzzer(target: str) -> Part:
    command = ("-m", "tests.fuzz", target, f"-max_total_time={_FUZZ_S}")
    return Part(f"fuzz {target}", command, _FUZZ_S / 60 + 1, r"Done \d+ runs")


#: Tests with random inputs that no other part has.
_RANDOM = (
    *("tests/graph", "tests/hw/compiler", "tests/hw/contract", "tests/hw/model"),
    *("tests/hw/explore/test_explore.py", "tests/hw/spatial/test_adders.py"),
    *("tests/qonnx/test_exporter.py", "tests/qonnx/test_files.py", "tests/qonnx/test_importer.py"),
    *("tests/qonnx/test_quantizers.py", "tests/qonnx/test_random_models.py"),
    *("tests/train/test_activations.py", "tests/train/test_fold.py", "tests/train/test_weights.py"),
)
#: Kinds of files, as ``tests.fuzz`` names them.
FUZZED = ("graph", "program", "configuration", "images", "idx", "pickle", "weights", "run",
          "qonnx", "report")  # fmt: skip
#: With the most minutes that each may take: 360 in all. Long ones first, so that both cores end at
#: about the same time.
PARTS = (
    Part(
        "mutants",
        ("-m", "scripts.mutation", "500", "--hours", "1.1"),
        70,
        r"\d+ of \d+ mutants.*",
    ),
    _tests("large networks", 14, "tests/train/test_models.py", "tests/train/test_timm.py"),
    _tests("proofs", 25, "tests/formal"),
    _tests("place, route, area", 30, "tests/hw/synth/test_nextpnr.py",
           "tests/hw/synth/test_area_model.py", "tests/hw/synth/test_levels.py"),
    _tests("networks in PyTorch", 28, "tests/train/test_shapes.py",
           "tests/train/test_exactness.py"),
    # Other examples than those of every change, and more.
    _tests("random examples", 30, *_RANDOM),
    _tests("random networks on the RTL", 20, "tests/hw/test_random_networks.py"),
    _tests("coverage of the RTL", 10, "tests/hw/test_coverage.py"),
    _tests("faults", 4, "tests/hw/test_faults.py"),
    _tests("AXI ports", 4, "tests/hw/test_axi_ports.py"),
    # The pattern finds the runs of each kind, and how much the process has grown.
    Part("endurance", (*_PYTEST, "-s", "tests/hw/test_endurance.py"), 5, r"\d+ runs: .*"),
    _tests("restarts", 5, "tests/hw/test_restarts.py"),
    _tests("compilers", 5, "tests/sim/test_runner.py"),
    *map(_fuzzer, FUZZED),
)  # fmt: skip


def run_parts(
    parts: Sequence[Part],
    folder: Path,
    *,
    at_once: int = _AT_ONCE,
    cluster: "Cluster | None" = None,
    progress: Callable[[Ended], None] = lambda ended: None,
) -> list[Ended]:
    """Runs the parts without a result in ``folder``, and writes each result there at once.

    Output goes to ``NAME.log``. A part that was under way when this process was stopped begins
    again the next time. On a cluster a part is a piece, in the checkout of its worker; ``at_once``
    is for this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state.jsonl"
    done = {one["name"]: Ended(**one) for one in read_lines(state)}
    left = [part for part in parts if part.name not in done]

    def keep(ended: Ended) -> None:
        append_line(state, asdict(ended))
        done[ended.name] = ended
        progress(ended)

    if cluster is None:
        _run_here(left, folder, at_once, keep)
    else:
        with cluster.work(run_on_worker, tests_digest()) as work:
            for number, (ended, text) in work.as_they_come(left):
                log = folder / left[number].log_name
                write_text(log, text)
                keep(replace(ended, log=str(log)))
    return [done[part.name] for part in parts if part.name in done]


def _run_here(
    parts: Sequence[Part], folder: Path, at_once: int, keep: Callable[[Ended], None]
) -> None:
    left: Queue[Part] = Queue()
    for part in parts:
        left.put(part)
    lock = threading.Lock()
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            try:
                part = left.get_nowait()
            except Empty:
                return
            ended = run_here(part, folder, stopping)
            if ended is None:
                return
            with lock:
                keep(ended)

    with ThreadPoolExecutor(at_once) as pool:
        try:
            workers = [pool.submit(work) for _ in range(at_once)]
            while wait(workers, timeout=1).not_done:  # an interrupt just before is seen after it
                pass
            for worker in workers:
                worker.result()
        except BaseException:
            stopping.set()
            raise


def ended_table(parts: Sequence[Part], ended: Sequence[Ended]) -> Table:
    """One row for each part: what ran, how much, what was found."""
    results = {one.name: one for one in ended}
    table = Table()
    for column in ("part", "outcome", "did", "log"):
        table.add_column(column)
    for column in ("minutes", "of the processor"):
        table.add_column(column, justify="right")
    for part in parts:
        one = results.get(part.name)
        row = ("not run", "", "", "", "") if one is None else (
            one.outcome, one.did, one.log, f"{one.minutes:.1f}", f"{one.cpu_minutes:.1f}"
        )  # fmt: skip
        table.add_row(part.name, *row)
    return table


def main() -> int:
    """Exit code 1 unless every part passed."""
    parser = argparse.ArgumentParser(prog="scripts/nightly", description=__doc__)
    parser.add_argument("--afresh", action="store_true", help="forget what is done already")
    parser.add_argument("--only", default="", help="parts whose names contain this")
    parser.add_argument(
        "--cluster", metavar="URL|local", help="parts are pieces of work on a cluster of Dask"
    )
    options = parser.parse_args()
    # Who ends this process ends its parts as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parts = [part for part in PARTS if options.only in part.name]
    folder = _FOLDER / (source_commit() or "unknown")
    if options.afresh:
        (folder / "state.jsonl").unlink(missing_ok=True)
    with connected(options.cluster) as workers:
        ended = run_parts(
            parts,
            folder,
            cluster=workers,
            progress=lambda one: console.print(f"{one.outcome}: {one.name}"),
        )
    console.print(ended_table(parts, ended))
    return int(len(ended) < len(parts) or any(one.outcome != "passed" for one in ended))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NbqnnError as error:
        print(f"nightly: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
