"""Elements, arrays and channel-wise units of several shapes in one top module."""

from dataclasses import replace
from itertools import product

from hw.boards.presets import PRESETS
from hw.rtl.array.array import PeArray
from hw.rtl.array.svpe import Svpe, Vpe
from hw.rtl.array.vector_max import VectorMax
from hw.rtl.array.vector_sum import VectorSum
from tests.hw.parts import Parts

__all__ = ["ARRAYS", "ELEMENTS", "MAXIMA", "PRODUCTS", "SUMS", "array_parts"]

#: Name -> options of an element; the name's first letter is s for Svpe, v for Vpe.
ELEMENTS = {
    f"s_a{act_bits}_w{weight_bits}_l{lanes}": {
        "lanes": lanes,
        "act_bits": act_bits,
        "weight_bits": weight_bits,
        "stored_bits": weight_bits,
        "acc_bits": acc_bits,
    }
    for (act_bits, acc_bits), weight_bits, lanes in product(
        [(4, 16), (8, 20), (16, 30)], [2, 3, 4], [4, 16]
    )
    # The widest take long to build and hold nothing new.
    if lanes == 4 or act_bits == 8 or weight_bits == 3
} | {
    # A tree with an odd number of terms at two of its levels, in a narrow accumulator.
    "s_a5_w3_l5": {"lanes": 5, "act_bits": 5, "weight_bits": 3, "stored_bits": 3, "acc_bits": 9},
    "v_a8_w4_l4": {"lanes": 4, "act_bits": 8, "weight_bits": 4, "stored_bits": 8, "acc_bits": 20},
    "v_a16_w3_l9": {
        "lanes": 9, "act_bits": 16, "weight_bits": 3, "stored_bits": 16, "acc_bits": 36
    },
}  # fmt: skip

_TINY = PRESETS["tiny"]
ARRAYS = {
    # Two tiles, the second one not full.
    "tiles": replace(_TINY, lanes=4, filters=12, pixels=2, post_lanes=4),
    "pixels": replace(_TINY, lanes=2, filters=3, pixels=3, post_lanes=1, act_bits=5, acc_bits=12),
    "factors": replace(_TINY, lanes=4, filters=2, pixels=2, post_lanes=2, pe="multiply"),
}
MAXIMA = {
    "one": replace(_TINY, lanes=8, pixels=1),
    "three": replace(_TINY, lanes=4, pixels=3, act_bits=5),
}
SUMS = {
    "one": replace(_TINY, lanes=8, pixels=1),
    "three": replace(_TINY, lanes=4, pixels=3, act_bits=5, acc_bits=12),
    "factors": replace(_TINY, lanes=4, pixels=2, pe="multiply"),
    "two_taps": replace(_TINY, lanes=4, pixels=2, post_positions=2, depthwise_taps=2),
}
#: Channel-wise sums that also multiply by activations.
PRODUCTS = {
    "digits": replace(_TINY, lanes=4, pixels=2, products=True),
    "bits": replace(_TINY, lanes=4, pixels=1, act_bits=5, weight_bits=2, products=True),
    "wide_codes": replace(_TINY, lanes=4, pixels=1, act_bits=7, weight_bits=4, products=True),
    "factor_digits": replace(_TINY, lanes=4, pixels=1, pe="multiply", products=True),
    "factor_bits": replace(
        _TINY, lanes=4, pixels=1, act_bits=6, weight_bits=2, pe="multiply", products=True
    ),
}
# One pixel has a single tap.
_TAPS = {"pixels": 5, "post_positions": 4, "depthwise_taps": 3}
PRODUCTS["three_taps"] = replace(_TINY, lanes=4, products=True, acc_bits=14, **_TAPS)
SUMS |= PRODUCTS


def array_parts() -> Parts:
    parts = {}
    for name, options in ELEMENTS.items():
        parts[name] = (Svpe if name[0] == "s" else Vpe)(**options)
    parts |= {f"array_{name}": PeArray(config) for name, config in ARRAYS.items()}
    parts |= {f"max_{name}": VectorMax(config) for name, config in MAXIMA.items()}
    parts |= {f"sum_{name}": VectorSum(config) for name, config in SUMS.items()}
    return Parts("array_parts", parts)
