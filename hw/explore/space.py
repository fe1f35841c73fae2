"""The configurations that are considered: a grid at the beginning, then neighbours."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

from hw.boards.presets import PRESETS
from hw.contract.config import AcceleratorConfig, ConfigError

__all__ = ["LEAST_DEPTHS", "grid", "neighbours"]

_LANES = (8, 16, 32, 64, 128)
_FILTERS = (8, 16, 24, 32, 40, 48, 64, 80, 96, 128)
_PIXELS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
_POST_LANES = (1, 2, 4, 8, 16, 32, 64)
_POST_POSITIONS = (1, 2, 3, 4, 5, 6)
_DSP_PIXELS = (0, 1, 2, 3, 4, 5, 6)
_DSP_FILTERS = (0, 4, 8, 12, 16, 20, 24, 28, 32, 48)
_DEPTHWISE_TAPS = (1, 2, 3)
#: Smaller memories are made of tables anyway.
_LEAST_PARAM_DEPTH = 64
_DEPTHS = tuple(1 << bits for bits in range(8, 17))
_PORTS = (1, 2, 4)
#: The values of each field that are considered, in order. The param memory keeps its least
#: depth: more hardly helps.
_STEPS = {
    "lanes": _LANES,
    "filters": _FILTERS,
    "pixels": _PIXELS,
    "post_lanes": _POST_LANES,
    "post_positions": _POST_POSITIONS,
    "dsp_pixels": _DSP_PIXELS,
    "dsp_filters": _DSP_FILTERS,
    "depthwise_taps": _DEPTHWISE_TAPS,
    "act_depth": _DEPTHS,
    "weight_depth": _DEPTHS,
    "axi_ports": _PORTS,
}
#: Memory -> its least depth in a configuration.
LEAST_DEPTHS: dict[str, Callable[[AcceleratorConfig], int]] = {
    "act_depth": lambda config: max(_DEPTHS[0], 2 * config.banks),
    "weight_depth": lambda config: _DEPTHS[0],
    "param_depth": lambda config: _LEAST_PARAM_DEPTH,
}
#: Values of the grid. It is coarse: the search refines around good configurations.
_GRID_FILTERS = (8, 16, 32, 64, 128)
_GRID_PIXELS = (1, 2, 4, 8)
_GRID_POST_POSITIONS = 2
_GRID_WEIGHT_DEPTHS = (512, 2048, 8192)


def grid(base: AcceleratorConfig, board: str) -> Iterator[list[Iterator[AcceleratorConfig]]]:
    """For each size of the array and depth of its weight memory: ever smaller activation memories.

    The presets come first, so that the search never ends with anything worse.
    """
    for preset in PRESETS.values():
        fields = (*_STEPS, "param_depth")
        sizes = {field: getattr(preset, field) for field in fields}
        # Networks without depthwise layers have no use for several taps.
        for taps in sorted({1, preset.depthwise_taps}):
            if (config := _with(base, board, sizes | {"depthwise_taps": taps})) is not None:
                yield [iter([config])]
    for lanes, filters, pixels in product(_LANES, _GRID_FILTERS, _GRID_PIXELS):
        sizes = {
            "lanes": lanes,
            "filters": filters,
            "pixels": pixels,
            "post_lanes": min(lanes, filters, _POST_LANES[-1]),
            "post_positions": min(pixels, _GRID_POST_POSITIONS),
            "param_depth": 512,
            "axi_ports": _PORTS[-1],
        }
        yield [
            _memories(base, board, sizes | {"weight_depth": depth}) for depth in _GRID_WEIGHT_DEPTHS
        ]


def _memories(
    base: AcceleratorConfig, board: str, sizes: dict[str, int]
) -> Iterator[AcceleratorConfig]:
    for depth in reversed(_DEPTHS):
        if (config := _with(base, board, sizes | {"act_depth": depth})) is not None:
            yield config


def neighbours(config: AcceleratorConfig, board: str) -> Iterator[AcceleratorConfig]:
    """Configurations with one field a step up or down, or two sizes in opposite directions."""
    moves = [{field: step} for field in _STEPS for step in (-1, 1)]
    sizes = ("lanes", "filters", "pixels")
    moves += [{up: 1, down: -1} for up in sizes for down in sizes if up != down]
    # A pixel in DSP blocks comes and goes with the pixels.
    moves += [{"pixels": step, "dsp_pixels": step} for step in (-1, 1)]
    for move in moves:
        values = {}
        for field, step in move.items():
            steps = _STEPS[field]
            at = steps.index(getattr(config, field)) + step
            if 0 <= at < len(steps):
                values[field] = steps[at]
        if len(values) < len(move):
            continue
        lanes = values.get("lanes", config.lanes)
        filters = values.get("filters", config.filters)
        if "post_lanes" not in values:
            values["post_lanes"] = max(
                count
                for count in _POST_LANES
                if count <= config.post_lanes and lanes % count == 0 and filters % count == 0
            )
        pixels = values.get("pixels", config.pixels)
        values.setdefault("post_positions", min(config.post_positions, pixels))
        if (neighbour := _with(config, board, values)) is not None:
            yield neighbour


def _with(config: AcceleratorConfig, board: str, sizes: dict[str, int]) -> AcceleratorConfig | None:
    """The configuration with these sizes, named after them; None if there can be none."""
    array = "x".join(str(sizes.get(n, getattr(config, n))) for n in ("lanes", "filters", "pixels"))
    if in_blocks := sizes.get("dsp_pixels", config.dsp_pixels):
        array += f"-{in_blocks}dsp"
    if more := sizes.get("dsp_filters", config.dsp_filters):
        array += f"-{more}more"
    if (taps := sizes.get("depthwise_taps", config.depthwise_taps)) > 1:
        array += f"-{taps}taps"
    try:
        return replace(config, name=f"{board}-{array}", **sizes)
    except ConfigError:
        return None
