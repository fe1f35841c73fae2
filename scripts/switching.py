"""How often shifts and multipliers switch: the same trained weights, the same real activations.

``python -m scripts.switching NETWORK --data NAME --data-dir DIR``. One element of each kind
computes layers of a trained network on test images, as a netlist under Verilator. What is counted
are changes of settled values, each net with as many as the pins that it drives, for each product.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import typer
from rich.table import Table

from nbqnn_train.cards import named_graph
from nbqnn_train.data import load_data
from nbqnn_train.graph import Conv2d, Graph, NbqnnError, load
from nbqnn_train.graph.results import Result
from nbqnn_train.learn.weight_files import read_weights
from scripts.output import console, spinner, write_json
from scripts.switching_steps import finer, full_precision, layer_steps, without_zeros
from scripts.tables import plain_table
from sim.switching.elements import FORMS, Element, Steps, element_netlist, switching

__all__ = ["SwitchingMeasurement", "SwitchingResult", "main"]

#: Bits of activations -> those of the sum, as in the configurations for the ZCU102.
_SUM_BITS = {8: (24, 24), 16: (32, 40)}
#: Pixels of the array: an element has every fifth position.
_PIXELS = 5
_SEED = 1


@dataclass(frozen=True, kw_only=True)
class SwitchingMeasurement:
    """One element on one stream of steps.

    element : "shift" or "multiply". form : of the netlist. act_bits : of activations.
    weights : "trained", or what was changed.
    zero_weights, zero_acts : shares of zeros.
    nets, clock : weighed changes for each product, of all nets but the clock's, and of that.
    """

    element: str
    form: str
    act_bits: int
    weights: str
    zero_weights: float
    zero_acts: float
    nets: float
    clock: float

    @property
    def total(self) -> float:
        return self.nets + self.clock


@dataclass(frozen=True, kw_only=True)
class SwitchingResult(Result):
    """All measurements on ``steps`` steps of ``lanes`` lanes."""

    kind: ClassVar[str] = "switching"

    network: str
    data: str
    images: int
    lanes: int
    steps: int
    measurements: tuple[SwitchingMeasurement, ...]


def main(
    network: Annotated[Path, typer.Argument(help="Trained network by name, or its graph.")],
    data: Annotated[str, typer.Option(help="Data set of the test images.")],
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the data set.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Test images.")] = 4,
    filters: Annotated[int, typer.Option(min=1, help="Filters of a layer and image.")] = 2,
    lanes: Annotated[int, typer.Option(min=4, help="Lanes of an element.")] = 16,
    act_bits: Annotated[list[int], typer.Option(help="8, 16 or both.")] = (8, 16),
    form: Annotated[list[str], typer.Option(help="tables, gates or both.")] = tuple(FORMS),
    pretrained: Annotated[
        Path | None, typer.Option(help="Weights of full precision, for the multipliers.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="File for the figures.")] = None,
) -> None:
    """Prints weighed changes for each product, and the ratio of multipliers to shifts."""
    if unknown := set(act_bits) - set(_SUM_BITS):
        raise NbqnnError(f"act-bits must be 8 or 16, not {min(unknown)}")
    if unknown := set(form) - set(FORMS):
        raise NbqnnError(f"form must be {' or '.join(FORMS)}, not {min(unknown)!r}")
    graph = load(named_graph(network))
    inputs = load_data(data, data_dir).test.images(slice(images))
    tensors = _tensors(pretrained)
    found = []
    with spinner("switching") as step:
        for bits in act_bits:
            given, places = layer_steps(
                finer(graph, bits - 8), inputs, lanes, _PIXELS, filters, _SEED
            )
            # Streams that both kinds of elements take, and one that only multipliers can.
            streams = _streams(given, bits)
            own = {}
            if tensors:
                own["full precision"] = full_precision(given, places, tensors, bits)
            for shape in form:
                for kind, more in (("shift", {}), ("multiply", own)):
                    step(f"{kind}, {bits} bits, {shape}")
                    element = Element(
                        kind=kind,
                        lanes=lanes,
                        act_bits=bits,
                        weight_bits=_weight_bits(graph),
                        acc_bits=_SUM_BITS[bits][kind == "multiply"],
                    )
                    netlist = element_netlist(element, shape)
                    for name, steps in (streams | more).items():
                        changes = switching(element, netlist, steps)
                        found.append(
                            SwitchingMeasurement(
                                element=kind,
                                form=shape,
                                act_bits=bits,
                                weights=name,
                                zero_weights=float((steps.weight == 0).mean()),
                                zero_acts=float((steps.act == _zero(bits)).mean()),
                                nets=round(changes.nets, 2),
                                clock=round(changes.clock, 2),
                            )
                        )
    result = SwitchingResult(
        network=str(network),
        data=data,
        images=images,
        lanes=lanes,
        steps=len(given.act),
        measurements=tuple(found),
    )
    write_json(json, result)
    console.print(_table(result))


def _tensors(path: Path | None) -> dict[str, np.ndarray]:
    """The weights of full precision, by name."""
    tensors = read_weights(path) if path else {}
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _weight_bits(graph: Graph) -> int:
    return max(node.weight_bits for node in graph.nodes if isinstance(node, Conv2d))


def _zero(act_bits: int) -> int:
    """The stored code of an unsigned activation of 0."""
    return -(1 << (act_bits - 1))


def _streams(steps: Steps, act_bits: int) -> dict[str, Steps]:
    zero = _zero(act_bits)
    return {
        "trained": steps,
        "no zero weights": without_zeros(steps, zero, weights=True, acts=False, seed=_SEED),
        "no zero activations": without_zeros(steps, zero, weights=False, acts=True, seed=_SEED),
        "no zeros": without_zeros(steps, zero, weights=True, acts=True, seed=_SEED),
    }


def _table(result: SwitchingResult) -> Table:
    table = plain_table(
        *("netlist", "bits", "weights", "zeros: weights, activations", "shift", "multiply"),
        *("ratio", "with the clock"),
        title=f"Changes for each product; {result.network}, {result.images} images",
    )
    both: dict[tuple, dict[str, SwitchingMeasurement]] = {}
    for one in result.measurements:
        both.setdefault((one.form, one.act_bits, one.weights), {})[one.element] = one
    for (form, bits, weights), found in both.items():
        multiply = found["multiply"]
        # What only multipliers can take stands beside the shifts of the trained weights.
        shift = found.get("shift") or both[form, bits, "trained"]["shift"]
        table.add_row(
            form,
            f"{bits}",
            weights,
            f"{multiply.zero_weights:.0%}, {multiply.zero_acts:.0%}",
            f"{shift.nets:.1f} + {shift.clock:.1f}",
            f"{multiply.nets:.1f} + {multiply.clock:.1f}",
            f"{multiply.nets / shift.nets:.2f}",
            f"{multiply.total / shift.total:.2f}",
        )
    return table


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
