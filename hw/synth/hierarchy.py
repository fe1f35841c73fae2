"""Which module contains which, and how often."""

import re
from collections import Counter
from collections.abc import Mapping

__all__ = ["direct_instances", "instances"]

_MODULE = re.compile(r"^module (\w+)(.*?)^endmodule", flags=re.MULTILINE | re.DOTALL)
_INSTANCE = re.compile(r"^ +(\w+) \\?\S+ +\($", flags=re.MULTILINE)


def direct_instances(verilog: str) -> dict[str, Counter[str]]:
    """Module -> module in it -> how often, in Verilog that :mod:`hw.verilog` wrote."""
    bodies = dict(_MODULE.findall(verilog))
    return {
        name: Counter(used for used in _INSTANCE.findall(body) if used in bodies)
        for name, body in bodies.items()
    }


def instances(cells: Mapping[str, Mapping[str, int]], top: str) -> Counter[str]:
    """How often each module occurs in ``top`` at any depth; ``top`` itself once.

    ``cells`` is module -> cell or module -> how many of them it contains directly.
    """
    counts = Counter({top: 1})
    for cell, count in cells[top].items():
        if cell in cells:
            for module, inside in instances(cells, cell).items():
                counts[module] += inside * count
    return counts
