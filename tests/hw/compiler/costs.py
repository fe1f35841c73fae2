"""What programs cost by the cycle model, kept in ``costs.json``; ``python -m`` this writes it anew.

Most changes of the compiler leave every result as it is and make programs slower, larger or more
greedy of memory. Only a comparison with what they cost before shows that.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np

from hw.boards.presets import PRESETS
from hw.compiler import CompileError, compile_graph
from hw.contract.config import AcceleratorConfig
from hw.model.cycles import estimate_cycles
from hw.model.traffic import layer_bytes
from nbqnn_train.cards.card import card_names, named_graph
from nbqnn_train.graph import (
    Add,
    Concat,
    ConvTranspose2d,
    DepthToSpace,
    Flatten,
    Flip2d,
    Graph,
    Input,
    MaxPool2d,
    Pad2d,
    Upsample2d,
    load,
    tensor_types,
)
from nbqnn_train.graph.operators import (
    ArgMax,
    Bilinear2d,
    Channels,
    Interpolate2d,
    RegionAverage2d,
    RegionMax2d,
    Slice2d,
    SpaceToDepth,
    Sum,
    Unflatten,
)
from tests.hw.accelerators import VERILATED
from tests.hw.compiler.test_strips import unet
from tests.hw.kept_costs import keep
from tests.hw.model.test_cycles import chain, gated, streamed, tiled
from tests.hw.networks import Network, small_network
from tests.hw.test_batch import deep, pooled

__all__ = ["COSTS", "costs"]

COSTS = Path(__file__).with_name("costs.json")
#: Networks of one or two layers for each configuration.
_LAYERS = 40
_SMALL = ("shift_64", "scale_32", "multiply_256", "hybrid_64")
_LARGE = ("zcu102-8bit", "zcu102-8bit-hybrid", "kv260-8bit", "tiny")


def costs() -> Iterator[tuple[str, dict[str, int] | None]]:
    """(name, costs) of each program; None for one that is refused.

    All that is random in the networks is fixed by a seed.
    """
    for name, graph, config, options in _cases():
        try:
            program = compile_graph(graph, config, **options)
        except CompileError:
            yield name, None
            continue
        yield (
            name,
            {
                "cycles": round(estimate_cycles(program).cycles),
                "commands": program.command_count,
                "moved": sum(layer_bytes(program)),
                "parameters": len(program.parameters),
                "scratch": program.scratch_bytes,
            },
        )


def _cases() -> Iterator[tuple[str, Graph, AcceleratorConfig, dict]]:
    for name in _SMALL:
        config = VERILATED[name]
        for number in range(_LAYERS):
            yield f"{name} layers {number}", _layers(number, name, most=24), config, {}
        small = small_network(act_bits=8, weight_bits=3, scale=False)
        for graph, kind in (
            *((make(), make.__name__) for make in (streamed, chain, tiled, gated, unet)),
            (small, "small"),
        ):
            yield f"{name} {kind}", graph, config, {}
            yield f"{name} {kind}, little memory", graph, replace(config, act_depth=256), {}
        for graph, kind in _operators():
            yield f"{name} {kind}", graph, config, {}
        for make in (pooled, deep):
            for batch in (2, 9):
                options, kind = {"batch": batch}, f"{name} {make.__name__}, {batch} images"
                yield kind, make(), config, options
                yield f"{kind}, little memory", make(), replace(config, act_depth=128), options
    for depth, batch in ((512, 2), (1024, 9)):
        config = replace(VERILATED["scale_32"], act_depth=depth)
        yield f"bottlenecks, {batch} images", _bottlenecks(), config, {"batch": batch}
    # Of the two ways to choose strips the first one is faster, the second one, the first one.
    for sizes, depth, width in (
        ((8, 16, 96, 64), 1024, 64),
        ((8, 8, 64, 48), 1024, 128),
        ((24, 8, 64, 64), 2048, 32),
    ):
        config = replace(VERILATED["scale_32"], act_depth=depth, axi_data_width=width)
        yield f"U-Net {sizes}", unet(*sizes), config, {}
    for name in _LARGE:
        for number in range(_LAYERS):
            graph = _layers(number, name, most=256)
            yield f"{name} layers {number}", graph, PRESETS[name], {}
    for card in card_names():
        graph = load(named_graph(Path(card)))
        for name in _LARGE:
            yield f"{name} {card}", graph, PRESETS[name], {}


def _layers(number: int, name: str, most: int) -> Graph:
    """One or two convolutions of random geometry, now and then with a pool or a linear layer.

    ``most`` is the largest height and width of the image.
    """
    rng = np.random.default_rng([number, crc32(name.encode())])

    def within(low: int, high: int) -> int:
        """Small numbers are as likely as large ones."""
        return round(float(np.exp(rng.uniform(np.log(low), np.log(high + 0.49)))))

    channels, height = within(1, 32), within(1, most)
    width = height if rng.random() < 0.5 else within(1, most)
    net = Network(seed=number)
    net.add(Input, "image", shape=(channels, height, width), bits=8, signed=True, exponent=0)
    for layer in range(rng.integers(1, 3)):
        channels, height, width = _shape(net)
        filters, grouped = within(1, 64), rng.random() < 0.25
        kernel = [min(size, within(1, 7)) for size in (height, width)]
        net.conv(
            f"conv{layer}",
            (channels if grouped else filters, 1 if grouped else channels, *kernel),
            3,
            stride=tuple(int(rng.integers(1, 1 + min(4, size))) for size in kernel),
            padding=tuple(int(rng.integers(0, size)) for size in (*kernel, *kernel)),
            groups=channels if grouped else 1,
        )
        net.requantize(f"out{layer}", 8, True)
        if rng.random() < 0.3:
            _, height, width = _shape(net)
            kernel = (min(height, 3), min(width, 2))
            net.add(MaxPool2d, f"pool{layer}", kernel=kernel, stride=(2, 1), padding=(0, 0, 0, 0))
    if np.prod(_shape(net)) <= 4096 and rng.random() < 0.3:
        net.add(Flatten, "flat").linear("linear", within(1, 64), 3).requantize("logits", 8, True)
    return net.graph()


def _bottlenecks() -> Graph:
    """Small maps of many channels: weights are longer loaded than used, so images share loads."""
    net = Network(seed=1)
    net.add(Input, "image", shape=(6, 8, 8), bits=8, signed=True, exponent=0)
    net.conv("stem", (24, 6, 3, 3), 2, padding=(1, 1, 1, 1)).requantize("a", 8, True)
    net.conv("down", (48, 24, 3, 3), 2, stride=(2, 2), padding=(1, 1, 1, 1))
    net.requantize("b", 8, True)
    net.conv("down2", (48, 48, 3, 3), 2, stride=(2, 2), padding=(1, 1, 1, 1))
    net.requantize("map0", 8, True)
    for block in range(3):
        around = net.last
        net.conv(f"reduce{block}", (24, 48, 1, 1), 2).requantize(f"c{block}", 8, True)
        net.conv(f"middle{block}", (24, 24, 3, 3), 2, padding=(1, 1, 1, 1))
        net.requantize(f"d{block}", 8, True)
        net.conv(f"expand{block}", (48, 24, 1, 1), 2).requantize(f"e{block}", 8, True)
        net.add(Add, f"add{block}", operands=(net.last, around), shifts=(0, 0), acc_bits=24)
        net.requantize(f"map{block + 1}", 8, True)
    net.add(Flatten, "flat").linear("linear", 10, 2)
    return net.requantize("logits", 8, True).graph()


def _operators() -> Iterator[tuple[Graph, str]]:
    """Each operator between two convolutions, of few channels and of several words of them."""
    regions = np.array([[0, 3], [2, 5], [1, 6]])
    for channels in (4, 20):
        for kind, fields in (
            (Channels, {"index": np.arange(channels)[::-2]}),
            (Unflatten, {"shape": (2, 3, 4)}),
            (DepthToSpace, {"block": 2}),
            (SpaceToDepth, {"block": 2}),
            (Flip2d, {"vertical": True, "horizontal": True}),
            (Slice2d, {"start": (1, 2), "stride": (2, 1), "size": (2, 3)}),
            (Pad2d, {"padding": (2, 1, 3, 0), "mode": "reflect", "value": 0}),
            (Upsample2d, {"factor": (3, 2)}),
            (Bilinear2d, {"factor": (2, 2), "acc_bits": 48}),
            (Interpolate2d, {"axis": 0, "shift": 8, "acc_bits": 48,
                             "first": np.array(5 * [0, 2, 4]),
                             "share": np.array(5 * [[1, 255], [200, 56], [0, 256]])}),
            (RegionMax2d, {"rows": regions, "columns": regions}),
            (RegionAverage2d, {"rows": regions, "columns": regions, "shift": 2, "acc_bits": 48,
                               "multiplier": np.ones((3, 3), int)}),
            (ArgMax, {}),
            (ConvTranspose2d, {"stride": (2, 2), "padding": (1, 0, 1, 0), "groups": channels // 4}),
            (Sum, {"shifts": (0, 0, 1), "signs": (1, -1, 1), "acc_bits": 48}),
            (Concat, {}),
        ):  # fmt: skip
            net = Network(seed=1)
            net.add(Input, "image", shape=(channels, 6, 8), bits=8, signed=True, exponent=0)
            net.conv("first", (channels, channels, 3, 3), 2, padding=(1, 1, 1, 1))
            net.requantize("map", 8, True, exponent=-1)
            if kind in (Sum, Concat):
                net.conv("second", (channels, channels, 1, 1), 2).requantize(
                    "other", 8, True, exponent=-1
                )
                names = ("map", "other", "image")
                net.add(kind, "operator", operands=names[: 3 if kind is Sum else 2], **fields)
            else:
                if kind is Unflatten:
                    net.add(Flatten, "flat").linear("linear", 24, 2).requantize("vector", 8, True)
                if kind is ConvTranspose2d:
                    fields |= net.weights((channels, 4, 3, 3), 2)
                net.add(kind, "operator", **fields)
            if kind in (Bilinear2d, ConvTranspose2d, Interpolate2d, RegionAverage2d, Sum):
                net.requantize("result", 8, True)
            net.conv("last", (5, _shape(net)[0], 1, 1), 2).requantize("out", 8, True)
            yield net.graph(), f"{kind.__name__} of {channels}"
    for channels in (2, 20):
        net = Network(seed=1)
        net.add(Input, "image", shape=(channels, 6, 8), bits=8, signed=True, exponent=0)
        net.add(ConvTranspose2d, "operator", stride=(2, 2), padding=(1, 0, 1, 0), groups=channels,
                **net.weights((channels, 1, 3, 3), 2))  # fmt: skip
        yield net.requantize("out", 8, True).graph(), f"ConvTranspose2d in {channels} groups"


def _shape(net: Network) -> tuple[int, ...]:
    return tensor_types(Graph(nodes=tuple(net.nodes), outputs=()))[net.last].shape


if __name__ == "__main__":
    keep(COSTS, costs())
