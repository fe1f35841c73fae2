"""A mapped module as arrays: nets and the delays between them."""

import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from hw.synth.levels import used_inputs
from hw.synth.timing import constants as ns

__all__ = ["Unit", "read_unit"]

_REGISTERS = {"FDRE", "FDSE", "FDCE", "FDPE", "LDCE", "LDPE"}
_CLOCKS = {"C", "CLK", "WCLK", "CLKARDCLK", "CLKBWRCLK", "G"}
_TABLE = re.compile(r"LUT[1-6](_2)?|INV")
_MUX = re.compile(r"MUXF[789]")
_CARRY = re.compile(r"CARRY[48]")
_TABLE_MEMORY = re.compile(r"RAM\d+[XM]\w*|SRL\w+")
_ADDRESS = re.compile(r"A\d*|ADDR\w*|DPRA\d*")
_MEMORY = re.compile(r"RAMB\d+E\d")
_ENABLE = re.compile(r"EN\w*|WE\w*|REGCE\w*|RST\w*")
_NOTHING = {"GND", "VCC", "$scopeinfo"}


@dataclass
class Unit:
    """One module. Nodes are its nets, and points inside its carry chains.

    nodes : number of nodes; names : node -> name, of nets that have one.
    ports : port -> node of each bit, -1 where it is a constant.
    arcs : (source, target, delay of the cell, kind of the net in front of it). The kinds are
        0: a net; 1: a net inside a slice; 2: none.
    starts : (node, delay from the clock). ends : (node, setup, what ends there).
    loads : node -> number of pins.
    instances : (module, name, port -> nodes) of modules that were mapped on their own.
    unknown : types of cells that no delay is known of; they count as registers.
    """

    nodes: int = 0
    names: dict[int, str] = field(default_factory=dict)
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    arcs: list[tuple[int, int, float, int]] = field(default_factory=list)
    starts: list[tuple[int, float]] = field(default_factory=list)
    ends: list[tuple[int, float, str]] = field(default_factory=list)
    loads: Counter[int] = field(default_factory=Counter)
    instances: list[tuple[str, str, dict[str, np.ndarray]]] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)


def read_unit(module: dict, modules: set[str]) -> Unit:
    """``module`` as :func:`hw.synth.mapping.slim_netlist` has it; ``modules`` are on their own."""
    return _Reader(module, modules).unit


class _Reader:
    def __init__(self, module: dict, modules: set[str]):
        self.unit = Unit()
        self._index: dict[int, int] = {}
        self._local: set[int] = set()
        for name, net in sorted(
            module["netnames"].items(),
            # A name that someone gave; a register's own name, which has its initial value.
            key=lambda item: ("$" in item[0], not item[1].get("init"), item[0].count(".")),
        ):
            if net.get("hide_name"):
                continue
            wide = len(net["bits"]) > 1
            for position, bit in enumerate(net["bits"]):
                if isinstance(bit, int):
                    plain = name.removeprefix("\\")
                    text = f"{plain}[{position}]" if wide else plain
                    self.unit.names.setdefault(self._node(bit), text)
        cells = module["cells"].items()
        for _, cell in cells:
            type_ = cell["type"]
            if _TABLE.fullmatch(type_):
                for port in ("O", "O5", "O6"):
                    self._local.update(self._nodes(cell["connections"].get(port, ())))
            elif _MUX.fullmatch(type_):
                self._local.update(self._nodes(cell["connections"]["O"]))
        for name, cell in cells:
            self._add(name, cell, modules)
        for port, info in module["ports"].items():
            side = self.unit.inputs if info["direction"] == "input" else self.unit.outputs
            side[port] = self._array(info["bits"])

    # Nodes --------------------------------------------------------------------------------------

    def _new(self) -> int:
        self.unit.nodes += 1
        return self.unit.nodes - 1

    def _node(self, bit: int) -> int:
        node = self._index.get(bit)
        if node is None:
            node = self._index[bit] = self._new()
        return node

    def _nodes(self, bits) -> list[int]:
        return [self._node(bit) for bit in bits if isinstance(bit, int)]

    def _array(self, bits) -> np.ndarray:
        return np.array([self._node(b) if isinstance(b, int) else -1 for b in bits], np.int64)

    # Cells --------------------------------------------------------------------------------------

    def _add(self, name: str, cell: dict, modules: set[str]) -> None:
        type_, pins = cell["type"], cell["connections"]
        if type_ in _NOTHING:
            return
        if type_ in modules:
            ports = {port: self._array(bits) for port, bits in pins.items()}
            self.unit.instances.append((type_, name, ports))
        elif _TABLE.fullmatch(type_):
            self._table(type_, cell, pins)
        elif _MUX.fullmatch(type_):
            for port in ("I0", "I1", "S"):
                self._join(pins[port], pins["O"], ns.MUX, local=port != "S")
        elif _CARRY.fullmatch(type_):
            self._carry(pins)
        elif type_.startswith("BUFG"):
            self._join(pins["I"], pins["O"], 0.0)
        else:
            self._register(name, type_, cell, pins)

    def _join(self, sources, targets, delay: float, *, local: bool = False) -> None:
        outs = self._nodes(targets)
        for source in self._nodes(sources):
            self.unit.loads[source] += 1
            kind = 1 if local and source in self._local else 0
            self.unit.arcs += [(source, out, delay, kind) for out in outs]

    def _table(self, type_: str, cell: dict, pins: dict) -> None:
        if type_ == "INV":
            self._join(pins["I"], pins["O"], ns.TABLE[1])
            return
        count = 6 if type_ == "LUT6_2" else int(type_[3])
        init = cell["parameters"]["INIT"].rjust(1 << count, "0")
        outs = [("O", count, init)]
        if type_ == "LUT6_2":
            outs = [("O6", 6, init), ("O5", 5, init[32:])]
        loaded = set()
        for port, inputs, table in outs:
            for out in self._nodes(pins.get(port, ())):
                for pin in used_inputs(table, inputs):
                    for source in self._nodes(pins[f"I{pin}"]):
                        self.unit.arcs.append((source, out, ns.TABLE[count], 0))
                        loaded.add(source)
        self.unit.loads.update(loaded)

    def _carry(self, pins: dict) -> None:
        """Carries are points of a chain; every bit's table reaches its own and all later ones."""
        arcs = self.unit.arcs
        before = self._new()
        for port in ("CI", "CYINIT"):
            for source in self._nodes(pins.get(port, ())):
                self.unit.loads[source] += 1
                # Carry to carry is a wire of its own; another net enters beside the first bit.
                arcs.append((source, before, 0.0, 1 if port == "CI" else 0))
        for bit in range(len(pins["S"])):
            carry = self._new()
            for out in self._nodes(pins["O"][bit : bit + 1]):
                arcs.append((before, out, ns.CARRY_IN_TO_SUM, 2))
                self._join(pins["S"][bit : bit + 1], [], 0.0)
                for source in self._nodes(pins["S"][bit : bit + 1]):
                    arcs.append((source, out, ns.SUM_IN_TO_SUM, int(source in self._local)))
            arcs.append((before, carry, ns.CARRY_IN_TO_OUT / len(pins["S"]), 2))
            for port in ("S", "DI"):
                for source in self._nodes(pins[port][bit : bit + 1]):
                    if port == "DI":
                        self.unit.loads[source] += 1
                    kind = int(source in self._local)
                    arcs.append((source, carry, ns.SUM_IN_TO_CARRY, kind))
            for out in self._nodes(pins["CO"][bit : bit + 1]):
                arcs.append((carry, out, 0.0, 2))
            before = carry

    def _register(self, name: str, type_: str, cell: dict, pins: dict) -> None:
        """Block memories, multipliers, registers, memories in tables and what is unknown."""
        directions = cell["port_directions"]
        outs = {p: bits for p, bits in pins.items() if directions[p] == "output"}
        ins = {p: bits for p, bits in pins.items() if directions[p] == "input" and p not in _CLOCKS}
        if type_ in _REGISTERS:
            named = self._nodes(pins["Q"])
            end = self.unit.names.get(named[0], name) if named else name
            self._starts(outs, lambda port: ns.CLOCK_TO_OUT)
            self._ends(ins, lambda port: ns.SETUP_DATA if port == "D" else ns.SETUP_CONTROL, end)
        elif _TABLE_MEMORY.fullmatch(type_):
            self._starts(outs, lambda port: ns.TABLE_MEMORY_CLOCK_TO_OUT)
            addresses = {port for port in ins if _ADDRESS.fullmatch(port)}
            for port in addresses:
                self._join(ins[port], [b for bits in outs.values() for b in bits], ns.TABLE_MEMORY)
            rest = {port: bits for port, bits in ins.items() if port not in addresses}
            self._ends(rest, lambda port: ns.SETUP_CONTROL, self._readable(name, outs))
        elif _MEMORY.fullmatch(type_):
            registered = {side: _flag(cell, f"DO{side}_REG", 0) for side in "AB"}
            self._starts(
                outs,
                lambda port: (
                    ns.MEMORY_REGISTER_TO_OUT
                    if registered.get(_side(port))
                    else ns.MEMORY_CLOCK_TO_OUT
                ),
            )
            self._ends(
                ins,
                lambda port: ns.SETUP_MEMORY_ENABLE if _ENABLE.fullmatch(port) else ns.SETUP_MEMORY,
                self._readable(name, outs),
            )
        elif type_.startswith("DSP48"):
            self._multiplier(name, cell, ins, outs)
        else:
            self.unit.unknown[type_] += 1
            self._starts(outs, lambda port: ns.CLOCK_TO_OUT)
            self._ends(ins, lambda port: ns.SETUP_DATA, name)

    def _multiplier(self, name: str, cell: dict, ins: dict, outs: dict) -> None:
        product = _flag(cell, "MREG", 1)
        total = _flag(cell, "PREG", 1)
        multiplies = cell["parameters"].get("USE_MULT", "MULTIPLY") != "NONE"
        behind = ns.DSP_ALU + ns.DSP_OUTPUT
        if total:
            out = ns.DSP_OUTPUT
        elif product and multiplies:
            out = behind
        else:
            out = (ns.DSP_MULTIPLY if multiplies else 0.0) + behind
        self._starts(outs, lambda port: out)
        for port, bits in ins.items():
            wide = port in ("A", "B", "D")
            if _flag(cell, f"{port}REG", 1) or port.startswith(("CE", "RST")):
                self._ends({port: bits}, lambda port: ns.SETUP_DSP, name)
                continue
            through = ns.DSP_INPUT + (ns.DSP_MULTIPLY if wide and multiplies else 0.0)
            if wide and product and multiplies:
                self._ends({port: bits}, lambda port, through=through: through, name)
            elif total:
                through += ns.DSP_ALU
                self._ends({port: bits}, lambda port, through=through: through, name)
            else:
                every = [bit for bits in outs.values() for bit in bits]
                self._join(bits, every, through + behind)

    def _starts(self, outs: dict, delay) -> None:
        for port, bits in outs.items():
            self.unit.starts += [(node, delay(port)) for node in self._nodes(bits)]

    def _ends(self, ins: dict, setup, name: str) -> None:
        for port, bits in ins.items():
            for node in self._nodes(bits):
                self.unit.loads[node] += 1
                self.unit.ends.append((node, setup(port), f"{name}/{port}"))

    def _readable(self, name: str, outs: dict) -> str:
        """The cell's name; where Yosys made that up, the name of what it drives."""
        if not name.startswith("$"):
            return name
        named = (self.unit.names.get(n) for bits in outs.values() for n in self._nodes(bits))
        return next((one for one in named if one), name)


def _side(port: str) -> str:
    """The port of a block memory that an output belongs to."""
    return "A" if port.startswith(("DOUTA", "DOUTPA", "CASDOUTA", "CASDOUTPA")) else "B"


def _flag(cell: dict, name: str, default: int) -> int:
    value = cell["parameters"].get(name, default)
    return value if isinstance(value, int) else int(value, 2)
