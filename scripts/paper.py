"""The paper's comparisons, on the ZCU102 and in accuracy, and networks beyond it, in one run.

Chen et al., arXiv 2004.02396: AlexNet's convolutions with 16-bit activations and 3-bit weights on
an array of shift elements (SVPE) against one of 16-bit multipliers (VPE).
"""

from json import loads as load_json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from hw.boards.presets import load_config
from hw.boards.registry import find_board, find_memory
from hw.synth.area import Area
from hw.synth.area_model import estimate_area
from hw.synth.power import BAND, PowerEstimate, estimate_power
from nbqnn_train.graph import NbqnnError
from scripts.output import console, spinner, write_json
from scripts.performance import Measurement, PerformanceResult, measure
from scripts.tables import plain_table

__all__ = ["main"]

#: Errors in percent that were measured with 3-bit weights and 8-bit activations.
#: See docs/results/training.md. Training takes hours, so it is not repeated here.
_ACCURACY = Path(__file__).with_name("accuracy.json")
#: What the paper states: rise of the error by 3 bits, and error from scratch, on CIFAR-10.
_PAPER_RISE, _PAPER_SCRATCH = 0.54, 7.59

_BOARD = "zcu102"
#: GOP/s that the paper states for the ZCU102.
_PAPER = {"zcu102-16bit": 957.4, "zcu102-vpe16": 332.2}
#: GOP/s/W that the paper states.
_PAPER_PER_WATT = {"zcu102-16bit": 48.85, "zcu102-vpe16": 11.57}
#: Network, preset, images in a run.
_COMPARED = (("alexnet", "zcu102-16bit", 1), ("alexnet", "zcu102-vpe16", 1))
_OTHERS = (
    ("alexnet", "zcu102-8bit", 1),
    ("alexnet", "zcu102-8bit", 8),
    ("alexnet", "zcu102-16bit-hybrid", 1),
    *(
        (network, "zcu102-8bit-hybrid", 1)
        for network in ("alexnet", "vgg16", "resnet18", "resnet50", "densenet121", "mobilenet_v1")
    ),
    ("vgg16", "zcu102-8bit", 1),
    ("resnet18", "zcu102-8bit", 1),
    ("resnet50", "zcu102-8bit", 1),
    ("densenet121", "zcu102-8bit", 1),
    ("mobilenet_v1", "zcu102-8bit", 1),
    ("nbq", "zcu102-8bit", 1),
    ("resnet20", "zcu102-8bit", 1),
    ("resnet20", "zcu102-16bit", 1),
    *(
        (network, "zcu102-8bit", 1)
        for network in (
            *("mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "shufflenet_v2"),
            *("yolox_nano", "ssd_mobilenet_v2", "yolov3_tiny", "espcn", "unet"),
        )
    ),
    *(
        (network, preset, 1)
        for network in ("resnet8", "mobilenet_v1_quarter", "ds_cnn", "autoencoder")
        for preset in ("digits", "ulx3s")
    ),
)


def main(
    cache: Annotated[Path, typer.Option(help="Folder for graphs.")] = Path("paper"),
    rtl: Annotated[int, typer.Option(help="Images to run on the RTL, 0 for the model.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Networks, all unless given.")] = None,
    batch: Annotated[
        int | None, typer.Option(help="Images in a run, in place of one or the table's.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="File for the figures.")] = None,
    resume: Annotated[bool, typer.Option(help="Keep the networks that the file has.")] = False,
) -> None:
    """Prints cycles, GOP/s and area beside the paper's figures."""
    chosen = [
        (network, preset, images if batch is None else batch)
        for network, preset, images in (*_COMPARED, *_OTHERS)
        if not only or network in only
    ]
    chosen = list(dict.fromkeys(chosen))
    if not chosen:
        raise NbqnnError(f"networks must be of {', '.join(sorted({one[0] for one in _OTHERS}))}")
    earlier = _earlier(json) if resume else {}
    measured: list[Measurement] = []
    with spinner("networks on the ZCU102") as step:
        for one in chosen:
            if one in earlier and earlier[one].images_checked >= rtl:
                measured.append(earlier[one])
                continue
            network, preset, images = one
            memory = find_memory(_BOARD) if preset.startswith(_BOARD) else None
            measured.append(
                measure(
                    network,
                    preset,
                    cache,
                    batch=images,
                    rtl_images=rtl,
                    memory=memory,
                    report=step,
                )
            )
            # Written at once: a later measurement may take too long.
            write_json(json, PerformanceResult(networks=tuple(measured), area={}))
    areas = {
        preset: estimate_area(load_config(preset=preset))
        for preset in dict.fromkeys(preset for _, preset, _ in chosen)
    }
    clocks = {one.preset: one.clock_mhz for one in measured if one.preset.startswith(_BOARD)}
    powers = {
        preset: estimate_power(areas[preset], clock, find_board(_BOARD))
        for preset, clock in clocks.items()
    }
    write_json(
        json, PerformanceResult(networks=tuple(measured), area=areas, estimated_power=powers)
    )
    if all(one in chosen for one in _COMPARED):
        console.print(_comparison(measured, areas, powers))
    console.print(_networks(measured))
    console.print(_accuracy(load_json(_ACCURACY.read_text(encoding="utf-8"))))
    console.print(
        "Cycles are the model's unless images were checked on the RTL. Weights are random. GOP/s "
        "are two operations for each multiply-accumulate, over the whole network and over its "
        "convolutions, at the clock that is asked for. LUT, BRAM and DSP are estimates from Yosys' "
        "figures, and W are estimates from these counts, which do not tell shifts from "
        f"multiplications: a factor of {BAND} either way in the fabric. The paper's W are its own. "
        "Nothing here has run on a board.",
        soft_wrap=True,
    )
    if any(one.mismatches for one in measured):
        raise typer.Exit(1)


def _earlier(path: Path | None) -> dict[tuple[str, str, int], Measurement]:
    """What the file of an earlier run has, by network, preset and images in a run."""
    if path is None or not path.is_file():
        return {}
    networks = PerformanceResult.read(path).networks
    return {(one.network, one.preset, one.batch): one for one in networks}


def _comparison(
    measured: list[Measurement], areas: dict[str, Area], powers: dict[str, PowerEstimate]
) -> Table:
    board = find_board(_BOARD)
    table = plain_table("AlexNet's convolutions, 16 bit", "SVPE", "VPE", "ratio", "paper's ratio",
                        title="Shifts against multipliers on the ZCU102")  # fmt: skip
    shift, multiply = measured[:2]
    paper_ratio = _PAPER[shift.preset] / _PAPER[multiply.preset]
    rows = [
        ("lanes", shift.lanes, multiply.lanes, ""),
        ("cycles", shift.conv_cycles, multiply.conv_cycles, ""),
        ("GOP/s", shift.conv_gops, multiply.conv_gops, f"{paper_ratio:.1f}"),
        ("paper's GOP/s", _PAPER[shift.preset], _PAPER[multiply.preset], f"{paper_ratio:.1f}"),
    ]
    rows += [
        (
            name.upper(),
            getattr(areas[shift.preset], name),
            getattr(areas[multiply.preset], name),
            "",
        )
        for name in ("lut", "bram36", "dsp")
    ]
    watts = [powers[one.preset].chip for one in (shift, multiply)]
    per_watt = [_PAPER_PER_WATT[one.preset] for one in (shift, multiply)]
    rows += [
        ("W, chip, estimated", *watts, ""),
        (
            "GOP/s/W, chip, estimated",
            *(one.conv_gops / watt for one, watt in zip((shift, multiply), watts, strict=True)),
            f"{per_watt[0] / per_watt[1]:.1f}",
        ),
        ("paper's GOP/s/W", *per_watt, f"{per_watt[0] / per_watt[1]:.1f}"),
    ]
    for name, first, second, beside in rows:
        ratio = "" if not second or name.startswith("paper") else f"{first / second:.2f}"
        digits = 1 if "W" in name else 0
        numbers = (f"{value:,.{digits}f}" for value in (first, second))
        table.add_row(Text(name), *numbers, ratio, beside)
    table.caption = f"{board.name}: {board.lut:,} LUT, {board.dsp:,} DSP"
    return table


def _networks(measured: list[Measurement]) -> Table:
    table = plain_table(
        *("network", "bits", "batch", "cycles", "images/s", "GOP/s", "conv.", "busy", "checked"),
        title="Networks, cycles of an image",
    )
    for one in measured:
        multiply = load_config(preset=one.preset).pe == "multiply"
        checked = f"{one.images_checked - one.mismatches}/{one.images_checked}"
        table.add_row(
            one.network if one.preset.startswith(_BOARD) else f"{one.network}, {one.preset}",
            f"{one.act_bits}{', VPE' if multiply else ''}",
            f"{one.batch}",
            f"{one.cycles:,}",
            f"{one.images_per_second:,.0f}",
            f"{one.gops:,.0f}",
            f"{one.conv_gops:,.0f}",
            f"{one.utilization:.0%}",
            checked if one.images_checked else "",
        )
    return table


def _accuracy(measured: list[dict]) -> Table:
    table = plain_table(
        *("network, data", "float", "3 bits", "rise", "training"),
        title="Error in percent, measured earlier (docs/results/training.md)",
    )
    for one in measured:
        full = one.get("float_error")
        table.add_row(
            f"{one['network']}, {one['data']}",
            "" if full is None else f"{full:.2f}",
            f"{one['error']:.2f}",
            "" if full is None else f"{one['error'] - full:+.2f}",
            one["how"],
        )
    table.add_row("paper, fine-tuned, cifar10", "", "", f"+{_PAPER_RISE}", "")
    table.add_row("paper, T-BQ-NN, cifar10", "", f"{_PAPER_SCRATCH}", "", "")
    return table


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
