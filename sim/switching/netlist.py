"""A netlist of Yosys as Verilog with a name for each net, and the pins that each net drives."""

from collections import Counter
from dataclasses import dataclass

from hw.synth.levels import used_inputs

__all__ = ["SwitchedNetlist", "switched_netlist"]

#: Gate -> its output. Yosys' names, and those of multiplexers behind tables.
_GATES = {
    "$_NOT_": ("Y", "~{A}"),
    "INV": ("O", "~{I}"),
    "$_AND_": ("Y", "{A} & {B}"),
    "$_NAND_": ("Y", "~({A} & {B})"),
    "$_OR_": ("Y", "{A} | {B}"),
    "$_NOR_": ("Y", "~({A} | {B})"),
    "$_XOR_": ("Y", "{A} ^ {B}"),
    "$_XNOR_": ("Y", "~({A} ^ {B})"),
    "$_MUX_": ("Y", "{S} ? {B} : {A}"),
    "MUXF7": ("O", "{S} ? {I1} : {I0}"),
    "MUXF8": ("O", "{S} ? {I1} : {I0}"),
    "MUXF9": ("O", "{S} ? {I1} : {I0}"),
    "GND": ("G", "1'b0"),
    "VCC": ("P", "1'b1"),
}
#: Register -> what it takes with the clock. All begin with 0.
_REGISTERS = {
    "$_DFF_P_": "{D}",
    "FDRE": "{R} ? 1'b0 : {CE} ? {D} : {Q}",
    "FDSE": "{S} ? 1'b1 : {CE} ? {D} : {Q}",
}
_CLOCKS = {"C", "CLK"}
_WORD = 32
#: Verilator keeps a port of more than 64 bits as 32-bit words.
_LEAST_WORDS = 3


@dataclass(frozen=True, kw_only=True)
class SwitchedNetlist:
    """One module to simulate.

    verilog : module ``switched`` with the ports ``clk``, ``i`` (all inputs, 32-bit words) and ``o``
        (64 bits). Net ``n12`` is Yosys' bit 12.
    inputs : port and width of the module's inputs but for ``clk``, in the order of ``i``.
    words : 32-bit words of ``i``.
    pins : net -> pins of cells and outputs that it drives, but for those of clocks.
    registers : how many registers the clock drives.
    cells : type -> how many there are.
    """

    verilog: str
    inputs: tuple[tuple[str, int], ...]
    words: int
    pins: dict[str, int]
    registers: int
    cells: dict[str, int]


def switched_netlist(module: dict, output: str) -> SwitchedNetlist:
    """A module of Yosys' ``write_json``, flat, in gates or in tables and carry chains.

    ``output`` is the port, of at most 64 bits, that becomes ``o``. The only clock is ``clk``.
    Raises :exc:`ValueError` for a cell without a model.
    """
    pins: Counter[str] = Counter()
    lines, registers = [], []
    cells = Counter(cell["type"] for cell in module["cells"].values())
    for index, cell in enumerate(module["cells"].values()):
        type_, bits = cell["type"], cell["connections"]
        if type_ == "$scopeinfo":
            continue
        one = {port: _net(of[0]) for port, of in bits.items() if of}
        for port, of in bits.items():
            # Of a table's inputs those count that it uses, once each.
            if cell["port_directions"][port] == "input" and port not in _CLOCKS:
                pins.update([] if type_.startswith("LUT") else map(_net, of))
        if type_ in _GATES:
            port, expression = _GATES[type_]
            lines.append(f"assign {one[port]} = {expression.format(**one)};")
        elif type_ in _REGISTERS:
            registers.append(one["Q"])
            value = _REGISTERS[type_].format(**one)
            lines.append(f"always @(posedge clk) {one['Q']} <= {value};")
        elif type_.startswith("LUT"):
            tables = _tables(cell, one)
            lines += [f"assign {out} = {expression};" for out, expression, _ in tables]
            pins.update({pin for _, _, used in tables for pin in used})
        elif type_ in ("CARRY4", "CARRY8"):
            lines += _carry(index, bits)
        else:
            raise ValueError(f"Cell must have a model, but {type_!r} has none")
    ports = module["ports"]
    inputs = tuple(
        (port, len(of["bits"]))
        for port, of in ports.items()
        if of["direction"] == "input" and port != "clk"
    )
    words = max(_LEAST_WORDS, -(-sum(width for _, width in inputs) // _WORD))
    all_inputs = [bit for port, _ in inputs for bit in ports[port]["bits"]]
    lines += [f"assign {_net(bit)} = i[{place}];" for place, bit in enumerate(all_inputs)]
    result = [_net(bit) for bit in ports[output]["bits"]]
    pins.update(result)
    lines.append(f"assign o = {{{', '.join(reversed(result))}}};")
    nets = sorted({_net(bit) for bit in _bits(module)} - {"1'b0", "1'b1"})
    held = set(registers)
    declared = [f"reg {net} = 0;" if net in held else f"wire {net};" for net in nets]
    head = f"module switched(input clk, input [{_WORD * words - 1}:0] i, output [63:0] o);"
    return SwitchedNetlist(
        verilog="\n".join([head, *declared, *lines, "endmodule", ""]),
        inputs=inputs,
        words=words,
        pins={net: pins[net] for net in nets},
        registers=len(registers),
        cells=dict(cells),
    )


def _net(bit: int | str) -> str:
    """The name of a net, or a constant; what is not said is 0."""
    return f"n{bit}" if isinstance(bit, int) else f"1'b{int(bit == '1')}"


def _bits(module: dict) -> set[int]:
    """All nets but the clock's."""
    found = {bit for cell in module["cells"].values() for of in cell["connections"].values()
             for bit in of}  # fmt: skip
    found |= {bit for port in module["ports"].values() for bit in port["bits"]}
    clock = set(module["ports"]["clk"]["bits"])
    return {bit for bit in found if isinstance(bit, int)} - clock


def _tables(cell: dict, one: dict[str, str]) -> list[tuple[str, str, list[str]]]:
    """For each output of a look-up table: its net, its expression, and the nets that it reads."""
    count = 6 if cell["type"] == "LUT6_2" else int(cell["type"][3])
    init = cell["parameters"]["INIT"].rjust(1 << count, "0")
    outputs = [("O", count, init)]
    if cell["type"] == "LUT6_2":
        outputs = [("O6", 6, init), ("O5", 5, init[32:])]
    found = []
    for port, inputs, table in outputs:
        if port in one:
            address = ", ".join(one[f"I{pin}"] for pin in reversed(range(inputs)))
            used = [one[f"I{pin}"] for pin in used_inputs(table, inputs)]
            found.append((one[port], f"{1 << inputs}'b{table} >> {{{address}}}", used))
    return found


def _carry(index: int, bits: dict[str, list]) -> list[str]:
    """A carry chain; what it carries from bit to bit is no net."""
    width = len(bits["S"])
    starts = [_net(bit) for port in ("CI", "CYINIT") for bit in bits.get(port, ())]
    lines = [f"wire [{width}:0] carry{index};", f"assign carry{index}[0] = {' | '.join(starts)};"]
    for bit in range(width):
        select, other = _net(bits["S"][bit]), _net(bits["DI"][bit])
        before = f"carry{index}[{bit}]"
        lines.append(f"assign carry{index}[{bit + 1}] = {select} ? {before} : {other};")
        for port, value in (("O", f"{select} ^ {before}"), ("CO", f"carry{index}[{bit + 1}]")):
            if bit < len(bits.get(port, ())) and isinstance(bits[port][bit], int):
                lines.append(f"assign {_net(bits[port][bit])} = {value};")
    return lines
