"""``nbqnn train``: learn a network."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.output import console

__all__ = ["train"]

_NETWORK, _QUANTIZATION = "Network and data", "Quantization"
_TRAINING, _MACHINE = "Training", "Machine"


def _option(panel: str, text: str, *names: str):
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=False)


def train(
    out: Annotated[Path, typer.Option(help="Folder for the run; new or empty.")],
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file with a table \\[train] of options; those given here win."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    model: Annotated[str | None, _option(_NETWORK, "Network, for example digits.")] = None,
    data: Annotated[str | None, _option(_NETWORK, "Data set, for example digits.")] = None,
    data_dir: Annotated[Path | None, _option(_NETWORK, "Folder with the data set's files.")] = (
        None
    ),
    pretrained: Annotated[
        Path | None, _option(_NETWORK, "Full-precision weights to begin with.")
    ] = None,
    teacher: Annotated[
        Path | None, _option(_NETWORK, "Full-precision weights to distil from.")
    ] = None,
    teacher_model: Annotated[
        str | None, _option(_NETWORK, "Network that they belong to; by default the same.")
    ] = None,
    teacher_weight: Annotated[
        float | None, _option(_NETWORK, "Its share of the loss, 0.7 by default; 1: no labels.")
    ] = None,
    train_images: Annotated[
        int | None, _option(_NETWORK, "Use so many of the training images.")
    ] = None,
    validation: Annotated[
        int | None, _option(_NETWORK, "Hold out so many training images to validate with.")
    ] = None,
    bits: Annotated[int | None, _option(_QUANTIZATION, "Bits of a weight, 2 to 6; usually 3.")] = (
        None
    ),
    act_bits: Annotated[
        int | None, _option(_QUANTIZATION, "Bits of an activation, 2 to 16; usually 8.")
    ] = None,
    estimator: Annotated[
        str | None, _option(_QUANTIZATION, "reconstructed (default), ste, deepshift or apot.")
    ] = None,
    lambda_power: Annotated[
        float | None,
        _option(_QUANTIZATION, "Lambda rises as 1 - (1 - t) to this power; 2 or 3."),
    ] = None,
    requant_mode: Annotated[
        str | None, _option(_QUANTIZATION, "shift (default) or scale (16-bit multipliers).")
    ] = None,
    weight_exponents: Annotated[
        str | None, _option(_QUANTIZATION, "One per channel (default) or per tensor.")
    ] = None,
    percentile: Annotated[
        float | None, _option(_QUANTIZATION, "Share of activations that must not be clipped.")
    ] = None,
    full_precision: Annotated[
        bool | None,
        _option(_QUANTIZATION, "No quantization: a baseline.", "--full-precision", "--float"),
    ] = None,
    epochs: Annotated[int | None, _option(_TRAINING, "Passes over the training images.")] = None,
    batch_size: Annotated[int | None, _option(_TRAINING, "Images per batch.")] = None,
    lr: Annotated[float | None, _option(_TRAINING, "Largest learning rate.")] = None,
    weight_decay: Annotated[float | None, _option(_TRAINING, "Of weights; not of biases.")] = None,
    optimizer: Annotated[str | None, _option(_TRAINING, "adam or sgd.")] = None,
    seed: Annotated[int | None, _option(_TRAINING, "Of all that is random; usually 0.")] = None,
    accumulate: Annotated[int | None, _option(_TRAINING, "Batches for one step.")] = None,
    clip_gradients: Annotated[
        float | None, _option(_TRAINING, "Largest norm of a step's gradient.")
    ] = None,
    patience: Annotated[
        int | None, _option(_TRAINING, "Stop after so many epochs that were not better.")
    ] = None,
    precision: Annotated[
        str | None, _option(_MACHINE, "32 (default), bf16-mixed or 16-mixed.")
    ] = None,
    accelerator: Annotated[str | None, _option(_MACHINE, "auto (default), cpu or gpu.")] = None,
    devices: Annotated[
        int | None, _option(_MACHINE, "GPUs, or processes on the CPU, of each node.")
    ] = None,
    nodes: Annotated[int | None, _option(_MACHINE, "Machines.")] = None,
) -> None:
    """Learn a network with weights that are zero or signed powers of two."""
    given = dict(locals())
    from nbqnn_train.learn.config import merge_config
    from nbqnn_train.learn.training import train as run_training

    for name in ("out", "config", "resume"):
        del given[name]
    result = run_training(merge_config(config, given), out, resume=resume)
    if result is not None:  # None in further processes
        console.print(
            f"accuracy {result['accuracy']:.2%} of {result['images']} images "
            f"after {result['epochs']} epochs in {result['seconds']:.0f} s; run in {out}",
            soft_wrap=True,
        )
