"""``scripts/mutate``: how many random changes of the sources the tests notice."""

import argparse
import signal
import sys
from collections import Counter
from pathlib import Path

from rich.table import Table

from hw.contract.origin import source_commit
from nbqnn_train.graph.errors import NbqnnError
from scripts.mutation.run import Outcome, choose, run_mutants, sources
from scripts.output import console

_ROOT = Path(__file__).parents[2]
#: Share of the mutants that must be killed; those that change nothing do not count.
_WANTED = 0.95


def main() -> int:
    """Exit code 1 if too many survived."""
    parser = argparse.ArgumentParser(prog="scripts/mutate", description=__doc__)
    parser.add_argument("count", type=int, metavar="N", help="mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="begin of the path of the files to change")
    parser.add_argument("--journal", type=Path, help="lines of what is done; goes on there")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--hours", type=float, default=float("inf"), help="begin none later")
    options = parser.parse_args()
    # Who ends this process ends the tests that it runs as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    usual = f"mutants-{source_commit() or 'unknown'}-{options.seed}.jsonl"
    journal = options.journal or _ROOT / "build" / usual
    journal.parent.mkdir(parents=True, exist_ok=True)
    mutants = choose(sources(_ROOT, options.only), options.count, options.seed)
    if options.jobs < 1:
        raise NbqnnError(f"--jobs must be at least 1, not {options.jobs}")
    outcomes = run_mutants(
        _ROOT,
        mutants,
        options.seed,
        journal,
        jobs=options.jobs,
        hours=options.hours,
        progress=_show,
    )
    console.print(_table(outcomes))
    for one in outcomes:
        if one.outcome == "survived":
            _show(one)
    counts = Counter(one.outcome for one in outcomes)
    real = counts["killed"] + counts["survived"]
    share = counts["killed"] / real if real else 1.0
    console.print(
        f"{len(outcomes)} of {len(mutants)} mutants: {counts['killed']} killed, "
        f"{counts['survived']} survived, {counts['equivalent']} equivalent; {share:.1%} killed"
    )
    return int(share < _WANTED)


def _show(one: Outcome) -> None:
    by = f" by {one.by}" if one.by else ""
    before, after = (" ".join(text.split())[:60] for text in (one.before, one.after))
    console.print(
        f"{one.outcome}{by}: {one.file}:{one.line}: {before} -> {after} ({one.seconds:.0f} s)",
        soft_wrap=True,
    )


def _table(outcomes: list[Outcome]) -> Table:
    table = Table()
    table.add_column("file")
    for name in ("killed", "survived", "equivalent"):
        table.add_column(name, justify="right")
    counts = Counter((one.file, one.outcome) for one in outcomes)
    for file in sorted({one.file for one in outcomes}):
        numbers = (counts[file, name] for name in ("killed", "survived", "equivalent"))
        table.add_row(file, *map(str, numbers))
    return table


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NbqnnError as error:
        print("scripts/mutate: error:", error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
