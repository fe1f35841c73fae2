"""Both walkers, and sequencers, for several numbers of pixels: a top module of each kind."""

from dataclasses import replace

from hw.boards.presets import PRESETS
from hw.rtl.control.group_walker import GroupWalker
from hw.rtl.control.sequencer import StepSequencer
from hw.rtl.control.walker import PositionWalker
from tests.hw.parts import Parts

__all__ = ["SEQUENCERS", "WALKERS", "sequencer_parts", "walker_parts"]

_TINY = PRESETS["tiny"]
#: Name -> pixels and cycles that a group after the first one takes at most.
WALKERS = {
    "one_1": (1, 1),
    "one_3": (3, 3),
    "group_2": (2, 1),
    "group_3": (3, 1),
    "group_5": (5, 1),
}


def walker_parts() -> Parts:
    kinds = {"one": PositionWalker, "group": GroupWalker}
    return Parts(
        "walker_parts",
        {
            name: kinds[name.split("_")[0]](replace(_TINY, pixels=pixels))
            for name, (pixels, _) in WALKERS.items()
        },
    )


#: Name -> configuration of a sequencer.
SEQUENCERS = {f"pixels_{pixels}": replace(_TINY, pixels=pixels) for pixels in (1, 3)} | {
    "products": replace(_TINY, pixels=2, products=True),
    "taps": replace(_TINY, pixels=4, post_positions=3, depthwise_taps=3, products=True),
}


def sequencer_parts() -> Parts:
    return Parts(
        "sequencer_parts", {name: StepSequencer(config) for name, config in SEQUENCERS.items()}
    )
