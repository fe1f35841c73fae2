"""Gradient estimators side by side: the same training, with and without a teacher, over seeds.

``scripts/ablation --help`` lists the options. Every training is a run of its own in the output
folder. What is finished is not done again. What was interrupted goes on.
"""

import itertools
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import typer
from typer.exceptions import TyperException

from hw.contract.files import write_text
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.results import Result
from scripts.clusters import connected
from scripts.commands.options import ClusterOption
from scripts.output import console, write_json

__all__ = ["AblationResult", "Cell", "ablation", "cells", "main", "table"]

ESTIMATORS = "reconstructed,ste,deepshift,apot,s3"
#: Number of training steps that are timed to estimate the time of all trainings.
_TIMED_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One estimator, with or without the teacher.

    errors : errors in percent of the test images, by seed.
    """

    estimator: str
    teacher: bool
    errors: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class AblationResult(Result):
    """The errors of all estimators.

    config : the configuration file that all trainings share.
    """

    kind: ClassVar[str] = "ablation"

    config: str
    cells: tuple[Cell, ...]


def ablation(
    out: Annotated[Path, typer.Option(help="Folder for runs and table.")],
    config: Annotated[
        Path, typer.Option(help="TOML file with a table \\[train]: what all trainings share.")
    ],
    estimators: Annotated[str, typer.Option(help="Names, with commas.")] = ESTIMATORS,
    seeds: Annotated[int, typer.Option(help="Seeds 0, 1, ... of each.")] = 3,
    dry: Annotated[bool, typer.Option("--dry", help="Only say what it will cost.")] = False,
    cluster: ClusterOption = None,
) -> None:
    """Train with each gradient estimator, with and without the teacher, and write the table.

    On a cluster each training is a piece. Its folder must be one that all workers see.
    """
    from nbqnn_train.learn.config import merge_config
    from nbqnn_train.learn.results import TrainingResult
    from nbqnn_train.learn.runs import CONFIG, RESULT
    from nbqnn_train.learn.training import train
    from scripts.trainings import check_result, found_anywhere, train_run

    base = found_anywhere(merge_config(config, {}))
    out = out.absolute()
    if base.teacher is None:
        raise NbqnnError(f"{config} must name a teacher")
    if seeds < 1:
        raise NbqnnError(f"Seeds must be at least 1, not {seeds}")
    alone = replace(base, teacher=None, teacher_model=None)
    grid = {
        out / f"{estimator}-{'taught' if taught else 'alone'}-seed{seed}": replace(
            base if taught else alone, estimator=estimator, seed=seed
        )
        for estimator, taught, seed in itertools.product(
            estimators.split(","), (False, True), range(seeds)
        )
    }
    open_runs = [folder for folder in grid if not (folder / RESULT).is_file()]
    if open_runs:
        steps, seconds = _cost(base)
        console.print(
            f"{len(open_runs)} of {len(grid)} trainings to do, {steps} steps each at "
            f"{seconds:.2f} s with the teacher: about {len(open_runs) * steps * seconds / 60:.0f} "
            "minutes, and evaluation",
            soft_wrap=True,
        )
    if dry:
        return
    with connected(cluster if open_runs else None) as workers:
        if workers is None:
            for number, folder in enumerate(open_runs, 1):
                print(f"{number}/{len(open_runs)} {folder.name}", file=sys.stderr, flush=True)
                train(grid[folder], folder, resume=(folder / CONFIG).is_file())
        else:
            with workers.work(train_run, None) as work:
                runs = [(grid[folder], folder) for folder in open_runs]
                for number, (_, name) in enumerate(work.as_they_come(runs), 1):
                    print(f"{number}/{len(open_runs)} {name} is done", file=sys.stderr, flush=True)
    for folder in open_runs:
        check_result(folder)
    found = cells([(grid[run], TrainingResult.read(run / RESULT).accuracy) for run in grid])
    text = table(found, seeds)
    write_json(out / "table.json", AblationResult(config=str(config), cells=found))
    write_text(out / "table.md", text)
    console.print(text)


def cells(results) -> tuple[Cell, ...]:
    """A cell for each estimator, without and with the teacher, from (configuration, accuracy)."""
    found: dict[tuple[str, bool], list[float]] = {}
    for config, accuracy in results:
        key = config.estimator, config.teacher is not None
        found.setdefault(key, []).append(round(100 * (1 - accuracy), 4))
    return tuple(
        Cell(estimator=estimator, teacher=taught, errors=tuple(errors))
        for (estimator, taught), errors in found.items()
    )


def table(found: Sequence[Cell], seeds: int) -> str:
    """Mean and standard deviation as Markdown."""
    rows: dict[str, dict[bool, str]] = {}
    for cell in found:
        text = f"{statistics.mean(cell.errors):.2f}"
        if len(cell.errors) > 1:
            text += f" ± {statistics.stdev(cell.errors):.2f}"
        rows.setdefault(cell.estimator, {})[cell.teacher] = text
    lines = [
        f"| test error in %, {seeds} seeds | alone | with teacher |",
        "|---|---|---|",
        *(f"| {name} | {row[False]} | {row[True]} |" for name, row in rows.items()),
    ]
    return "\n".join(lines) + "\n"


def _cost(config) -> tuple[int, float]:
    """Number of steps of one training, and seconds of one step on this machine, with its images."""
    import torch

    from nbqnn_train.convert import calibrate
    from nbqnn_train.data import load_data, split
    from nbqnn_train.learn.networks import float_network, quantized_network

    recipe = config.recipe()
    data = split(load_data(config.data, config.data_dir), config.train_images, config.validation)
    batch = min(recipe.batch_size, len(data.train))
    channels = data.input_shape[0]
    network = quantized_network(config, data.classes, data.input_shape, config.pretrained)
    model = config.teacher_model or config.model
    teacher = float_network(model, data.classes, channels, config.teacher).eval()
    images = torch.from_numpy(data.train.images(slice(batch)))
    calibrate(network, [images])
    times = []
    for _ in range(_TIMED_STEPS):
        started = time.perf_counter()
        with torch.no_grad():
            target = teacher(images)
        (network(images) - target).square().sum().backward()
        times.append(time.perf_counter() - started)
    return recipe.epochs * (len(data.train) // batch), min(times)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. Bad input is one line and exit code 2, an interrupt is code 130."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(ablation)
    try:
        app(arguments, prog_name="ablation", standalone_mode=False)
    except (NbqnnError, TyperException) as error:
        message = error.format_message() if isinstance(error, TyperException) else str(error)
        print("ablation: error:", "; ".join(message.split("\n")), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
