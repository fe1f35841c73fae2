"""Writes the figures that come with the package: of networks, and of cards.

    python -m scripts.models.figures [NAME…] [--data-dir DIR]

A name is a network's or a card's; without names all networks are computed, which takes long. Of a
card everything is computed again that its graph tells; its error too where DIR has its data set.
"""

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from hw.boards.presets import PRESETS
from hw.boards.registry import BOARDS, find_memory
from hw.compiler import compile_graph
from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import BoardMemory
from hw.model.estimate import estimate_program
from nbqnn_train.cards.card import CARDS, Card, card_names, read_card
from nbqnn_train.cards.networks import NETWORKS, NetworkFigures, NetworkList, read_networks
from nbqnn_train.graph import Graph, NbqnnError, load, tensor_types
from nbqnn_train.graph.report import describe
from nbqnn_train.inputs.meaning import meaning_file, read_meaning

__all__ = ["card_figures", "cycles_of", "network_figures", "preset_memory"]

_IMAGENET, _CIFAR = ((3, 224, 224), 1000), ((3, 32, 32), 10)
#: Name -> shape of the input and number of classes, for other networks than ImageNet's.
_SMALL = {
    "digits": ((1, 8, 8), 10),
    "lenet5": ((1, 28, 28), 10),
    **dict.fromkeys(("densenet_bc_100_12", "nbq", "nbq7", "nbq_small"), _CIFAR),
    **dict.fromkeys(("resnet8", "resnet20", "resnet32", "resnet44", "resnet56"), _CIFAR),
}
_USUAL_MEMORY = "zcu102"


def preset_memory(preset: str) -> BoardMemory:
    """The memory that a preset's cycles are counted with: its board's, or the ZCU102's."""
    for board in BOARDS.values():
        if board.memory is not None and preset in (one.name for one in board.presets):
            return board.memory
    return find_memory(_USUAL_MEMORY)


def cycles_of(graph: Graph, config: AcceleratorConfig) -> int | None:
    """Cycles of one image by the cycle model; None if the configuration cannot run the graph."""
    try:
        program = compile_graph(graph, config, pack=False)
    except NbqnnError:
        return None
    return round(estimate_program(program, preset_memory(config.name)).cycles_per_image)


def _all_cycles(graph: Graph) -> dict[str, int]:
    counted = {name: cycles_of(graph, config) for name, config in PRESETS.items()}
    return {name: cycles for name, cycles in counted.items() if cycles is not None}


def network_figures(name: str) -> NetworkFigures:
    """The figures of a network of the registry, with random weights."""
    import torch

    from nbqnn_train.convert import QuantConfig, calibrate, convert
    from nbqnn_train.export import export_graph
    from nbqnn_train.models import build_model

    shape, classes = _SMALL.get(name, _IMAGENET)
    torch.manual_seed(0)
    network = build_model(name, classes, shape[0]).eval()
    parameters = sum(one.numel() for one in network.parameters())
    inputs = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    converted = convert(network, QuantConfig(weight_bits=3, act_bits=8), inputs[:1])
    calibrate(converted, [inputs])
    graph = export_graph(converted.eval(), shape)
    return NetworkFigures(
        name=name,
        shape=shape,
        classes=classes,
        parameters=parameters,
        macs=sum(row.macs for row in describe(graph)),
        cycles=_all_cycles(graph),
    )


def card_figures(card: Card) -> Card:
    """The card with what its graph in the package tells: sizes, cycles, classes and digest."""
    path = CARDS / f"{card.name}.graph"
    graph = load(path)
    rows = describe(graph)
    (node,) = graph.input_nodes
    return replace(
        card,
        shape=tensor_types(graph)[node.name].shape,
        classes=read_meaning(meaning_file(path), graph).classes,
        macs=sum(row.macs for row in rows),
        cycles=_all_cycles(graph),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def _measured(card: Card, data_dir: Path) -> Card:
    from nbqnn_train.evaluation import evaluate

    found = evaluate(card.graph, card.data, data_dir)
    wrong = found.images - round(found.accuracy * found.images)
    return replace(card, error=wrong / found.images, test_images=found.images)


def _write_card(name: str, data_dir: Path | None) -> None:
    card = card_figures(read_card(name))
    if data_dir is not None:
        card = _measured(card, data_dir)
    card = replace(card, measured=date.today().isoformat())
    card.write(CARDS / f"{name}.card.json")


def _write_network(name: str) -> None:
    found = network_figures(name)
    # Read again: it may have taken long, and another process may have written.
    known = {one.name: one for one in read_networks().networks} if NETWORKS.exists() else {}
    known[name] = found
    NetworkList(
        date=date.today().isoformat(),
        networks=tuple(known[one] for one in sorted(known)),
    ).write(NETWORKS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes each file anew after each name."""
    from nbqnn_train.models import MODELS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args(arguments)
    for name in options.names or sorted(MODELS):
        if name in card_names():
            _write_card(name, options.data_dir)
        else:
            _write_network(name)
        print(name, flush=True)


if __name__ == "__main__":
    main()
