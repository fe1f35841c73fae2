"""Which module contains which, and how often."""

import re
from collections import Counter
from collections.abc import Mapping, Set

__all__ = [
    "direct_instances",
    "instance_paths",
    "instances",
    "module_texts",
    "modules_of_cells",
    "ports_only",
    "without_kept",
]

_MODULE = re.compile(r"^module (\w+)(.*?)^endmodule", flags=re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"^ +(?:LUT\w+|CARRY[48]) ", flags=re.MULTILINE)
_PORT = re.compile(r"^  (?:input|output) .*;\n", flags=re.MULTILINE)
_INSTANCE = re.compile(r"^ +(\w+) \\?(\S+) +\($", flags=re.MULTILINE)


def direct_instances(verilog: str) -> dict[str, Counter[str]]:
    """Module -> module in it -> how often, in Verilog that :mod:`hw.rtl.verilog` wrote."""
    bodies = dict(_MODULE.findall(verilog))
    return {
        name: Counter(used for used, _ in _INSTANCE.findall(body) if used in bodies)
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


def instance_paths(verilog: str, top: str) -> dict[str, str]:
    """Path of each instance inside ``top`` (names joined by dots; "" is ``top``) -> its module."""
    bodies = dict(_MODULE.findall(verilog))
    paths, left = {}, [("", top)]
    while left:
        path, module = left.pop()
        paths[path] = module
        left += [
            (f"{path}.{name}" if path else name, used)
            for used, name in _INSTANCE.findall(bodies[module])
            if used in bodies
        ]
    return paths


def module_texts(verilog: str) -> dict[str, str]:
    """Module -> its Verilog, in the order of the text."""
    return {match[1]: match[0] + "\n" for match in _MODULE.finditer(verilog)}


def ports_only(module: str) -> str:
    """The module's Verilog without what is between its ports."""
    return f"{module.partition(';')[0]};\n{''.join(_PORT.findall(module))}endmodule\n"


def without_kept(
    cells: Mapping[str, Mapping[str, int]], top: str, keep: Set[str]
) -> tuple[set[str], set[str]]:
    """Two sets: ``top`` with the modules that dissolve in it, and the modules of ``keep`` in these.

    Modules that are used only inside one of ``keep`` are in neither set.
    """
    dissolved, kept, left = set(), set(), [top]
    while left:
        module = left.pop()
        dissolved.add(module)
        for used in cells[module]:
            if used in keep:
                kept.add(used)
            elif used not in dissolved:
                left.append(used)
    return dissolved, kept


def modules_of_cells(verilog: str) -> set[str]:
    """Modules that consist of a family's cells and need no mapping."""
    return {name for name, body in _MODULE.findall(verilog) if _CELL.search(body)}
