"""``nbqnn train``: learn a network."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.options import DataDirOption, DataOption
from scripts.output import console

__all__ = ["train"]


def train(
    model: Annotated[str, typer.Option(help="Network, for example digits.")],
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder for the run; new or empty.")],
    data_dir: DataDirOption = None,
    bits: Annotated[int, typer.Option(help="Bits of a weight.")] = 3,
    act_bits: Annotated[int, typer.Option(help="Bits of an activation.")] = 8,
    pretrained: Annotated[
        Path | None, typer.Option(help="Full-precision weights to begin with.")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Full-precision weights to distil from.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Largest learning rate.")] = None,
) -> None:
    """Learn a network with weights that are zero or signed powers of two."""
    from nbqnn_train.config import TrainConfig
    from nbqnn_train.training import train as run_training

    config = TrainConfig(
        model=model,
        data=data,
        data_dir=data_dir,
        bits=bits,
        act_bits=act_bits,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        pretrained=pretrained,
        teacher=teacher,
    )
    result = run_training(config, out, resume=resume)
    console.print(
        f"accuracy {result['accuracy']:.2%} of {result['images']} images "
        f"after {result['epochs']} epochs in {result['seconds']:.0f} s; run in {out}",
        soft_wrap=True,
    )
