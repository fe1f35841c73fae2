"""Logic between registers in a netlist that Yosys mapped to UltraScale+, component by component.

A level is a look-up table or a carry chain. Multiplexers behind tables belong to the tables. Block
memories, multipliers, the design's ports and modules that were mapped alone count as registers.
A memory in tables is one level from address to data.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

__all__ = ["MAX_CHAIN_BITS", "MAX_LEVELS", "ComponentLevels", "logic_levels", "used_inputs"]

#: Limits for every path: six levels, and 32 bits of a carry chain.
MAX_LEVELS = 6
MAX_CHAIN_BITS = 32

_FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")
_TABLE = re.compile(r"LUT[1-6](_2)?|INV")
_CARRY = re.compile(r"CARRY[48]")
_FREE = re.compile(r"MUXF[789]|BUFG")
#: Memories and shift registers in tables. Inputs that are not addresses are taken with the clock.
_TABLE_MEMORY = re.compile(r"RAM\d+X\d+\w*|RAM\d+M\d*|SRL\w+")
_ADDRESS = re.compile(r"A\d*|ADDR\w*|DPRA\d*")
_NOTHING = ("GND", "VCC", "$scopeinfo")


@dataclass(frozen=True)
class ComponentLevels:
    """The longest paths that end in registers of one kind of component.

    levels : look-up tables and carry chains on the path with most of them
    chains : carry chains one after the other, on the path with most of those
    chain_bits : bits of the longest carry chain on any path
    start, end : where the path with most levels begins and ends
    """

    component: str
    levels: int
    chains: int
    chain_bits: int
    start: str
    end: str

    @property
    def within_limits(self) -> bool:
        return self.levels <= MAX_LEVELS and self.chain_bits <= MAX_CHAIN_BITS


class _Path(NamedTuple):
    """Of all paths to a net the most levels, chains and chain bits; where the longest begins."""

    levels: int = 0
    chains: int = 0
    chain_bits: int = 0
    start: str = ""

    def then(self, arc: "_Path") -> "_Path":
        return _Path(
            self.levels + arc.levels,
            self.chains + arc.chains,
            max(self.chain_bits, arc.chain_bits),
            self.start,
        )

    def or_longer(self, other: "_Path") -> "_Path":
        longer = self if self.levels >= other.levels else other
        return _Path(
            longer.levels,
            max(self.chains, other.chains),
            max(self.chain_bits, other.chain_bits),
            longer.start,
        )


def logic_levels(netlist: dict, top: str, components: Mapping[str, str]) -> list[ComponentLevels]:
    """One entry for each component that has registers in module ``top``, most levels first.

    Parameters
    ----------
    netlist : as Yosys' ``write_json`` has it, without hierarchy inside ``top``.
    components : path of an instance (``core.compute``; "" is ``top`` itself) -> its component.

    Raises
    ------
    ValueError
        There is a loop without a register.
    """
    return _Analysis(netlist["modules"][top], components).run()


@cache
def used_inputs(init: str, inputs: int) -> tuple[int, ...]:
    """Inputs that a table's output depends on; ``init`` in binary, highest entry first."""
    table = init[::-1]
    return tuple(
        bit
        for bit in range(inputs)
        if any(table[i] != table[i ^ 1 << bit] for i in range(1 << inputs))
    )


class _Analysis:
    """Longest paths to all nets of one module."""

    def __init__(self, module: dict, components: Mapping[str, str]):
        self._module = module
        self._components = components
        #: Net -> (net, path from there), and net -> path from a register that drives it.
        self._arcs: dict[int, list[tuple[int, _Path]]] = defaultdict(list)
        self._begins: dict[int, _Path] = {}
        #: Where paths end: (net, name of the register).
        self._ends: list[tuple[int, str]] = []
        self._paths: dict[int, _Path] = {}
        self._names: dict[int, str] = {}
        # A register's own name is the one with its initial value. Its other names are those of
        # ports that it is connected to.
        for net, info in sorted(
            module["netnames"].items(),
            key=lambda item: ("init" not in item[1]["attributes"], item[0].count(".")),
        ):
            for index, bit in enumerate(info["bits"]):
                wide = len(info["bits"]) > 1
                if not info.get("hide_name"):
                    self._names.setdefault(bit, f"{net}[{index}]" if wide else net)
        carries = [c for c in module["cells"].values() if _CARRY.fullmatch(c["type"])]
        self._chains = _chain_bits(module, [cell["connections"] for cell in carries])

    def run(self) -> list[ComponentLevels]:
        for port, info in self._module["ports"].items():
            if info["direction"] == "input":
                self._begin(info["bits"])
            else:
                self._end(info["bits"], port)
        for cell in self._module["cells"].values():
            self._add(cell)
        self._solve()
        worst: dict[str, tuple[_Path, str]] = {}
        for bit, name in self._ends:
            component = self._component(name)
            path, end = worst.get(component, (_Path(), name))
            found = self._paths.get(bit, _Path())
            longer = found.levels > path.levels
            worst[component] = (path.or_longer(found), name if longer else end)
        results = [ComponentLevels(name, *path, end) for name, (path, end) in worst.items()]
        # The fields of a path are those of the result, in this order.
        return sorted(results, key=lambda r: (-r.levels, -r.chain_bits, r.component))

    def _component(self, name: str) -> str:
        """The component of the innermost instance whose path begins ``name``."""
        path = name
        while path:
            path = path.rpartition(".")[0]
            if path in self._components:
                return self._components[path]
        return self._components[""]

    # Cells --------------------------------------------------------------------------------------

    def _add(self, cell: dict) -> None:
        type_, nets = cell["type"], cell["connections"]
        if _TABLE.fullmatch(type_):
            self._add_table(cell)
            return
        if _CARRY.fullmatch(type_):
            self._add_carry(nets)
            return
        if type_ in _NOTHING:
            return
        sides: dict[str, dict] = {"input": {}, "output": {}}
        for port, bits in nets.items():
            sides[cell["port_directions"][port]][port] = bits
        outputs = [bit for bits in sides["output"].values() for bit in bits]
        inputs = [bit for port, bits in sides["input"].items() if port != "C" for bit in bits]
        if _FREE.fullmatch(type_):
            self._join(inputs, outputs, _Path())
            return
        if _TABLE_MEMORY.fullmatch(type_):
            addresses = [
                bit
                for port, bits in sides["input"].items()
                if _ADDRESS.fullmatch(port)
                for bit in bits
            ]
            self._join(addresses, outputs, _Path(1))
        self._begin(outputs)
        name = self._names.get(nets["Q"][0], "") if type_ in _FLIP_FLOPS else ""
        self._end(inputs, name)

    def _add_table(self, cell: dict) -> None:
        type_, nets = cell["type"], cell["connections"]
        if type_ == "INV":
            self._join(nets["I"], nets["O"], _Path(1))
            return
        inputs = 6 if type_ == "LUT6_2" else int(type_[3])
        init = cell["parameters"]["INIT"].rjust(1 << inputs, "0")
        outputs = [("O", inputs, init)]
        if type_ == "LUT6_2":
            outputs = [("O6", 6, init), ("O5", 5, init[32:])]
        for port, count, table in outputs:
            used = [bit for i in used_inputs(table, count) for bit in nets[f"I{i}"]]
            self._join(used, nets.get(port, ()), _Path(1))

    def _add_carry(self, nets: dict) -> None:
        entered = _Path(1, 1, self._chains[nets["CO"][-1]])
        for index in range(len(nets["S"])):
            total, carry = [nets["O"][index]], [nets["CO"][index]]
            # A bit's sum does not depend on its own second operand.
            self._join(nets["S"][: index + 1] + nets["DI"][:index], total, entered)
            self._join(nets["S"][: index + 1] + nets["DI"][: index + 1], carry, entered)
            for bit in (*nets.get("CI", ()), *nets.get("CYINIT", ())):
                # The chain goes on, or begins here.
                self._join([bit], total + carry, _Path() if bit in self._chains else entered)

    def _join(self, sources: Iterable, targets: Iterable, path: _Path) -> None:
        sources = [bit for bit in sources if isinstance(bit, int)]
        for target in targets:
            self._arcs[target] += [(bit, path) for bit in sources]

    def _begin(self, bits: Iterable) -> None:
        for bit in bits:
            self._begins[bit] = _Path(start=self._names.get(bit, ""))

    def _end(self, bits: Iterable, name: str) -> None:
        for bit in bits:
            if isinstance(bit, int):
                self._ends.append((bit, name or self._names.get(bit, "")))

    # Paths --------------------------------------------------------------------------------------

    def _solve(self) -> None:
        """Finds the paths to all nets, each after those that it depends on."""
        done, under_way = self._paths, set()
        for root in list(self._arcs):
            stack = [(root, False)]
            while stack:
                bit, ready = stack.pop()
                if bit in done:
                    continue
                if ready:
                    under_way.discard(bit)
                    path = self._begins.get(bit, _Path())
                    for before, arc in self._arcs.get(bit, ()):
                        path = path.or_longer(done[before].then(arc))
                    done[bit] = path
                    continue
                if bit in under_way:
                    raise ValueError(
                        "Logic must have no loop without a register, but has one through "
                        f"{self._names.get(bit, bit)}"
                    )
                under_way.add(bit)
                stack.append((bit, True))
                stack += [(before, False) for before, _ in self._arcs.get(bit, ())]


def _chain_bits(module: dict, carries: list[dict]) -> dict[int, int]:
    """Last carry out of each carry cell -> bits of its chain.

    A chain ends with the highest bit whose sum or carry is used.
    """
    used = set()
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"].get(port) == "input":
                used.update(bits)
    for info in module["ports"].values():
        if info["direction"] == "output":
            used.update(info["bits"])
    outs = {nets["CO"][-1] for nets in carries}
    following = {bit: nets for nets in carries for bit in nets.get("CI", ()) if bit in outs}
    lengths: dict[int, int] = {}
    for first in carries:
        if any(bit in outs for bit in first.get("CI", ())):
            continue
        chain, part = [], first
        while part is not None:
            chain.append(part)
            part = following.get(part["CO"][-1])
        last, width = chain[-1], len(first["S"])
        tops = [i for i in range(width) if {last["O"][i], last["CO"][i]} & used]
        bits = (len(chain) - 1) * width + (tops[-1] + 1 if tops else 0)
        lengths.update(dict.fromkeys((part["CO"][-1] for part in chain), bits))
    return lengths
