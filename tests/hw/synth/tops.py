"""Tops with the ports of an accelerator and nothing behind them, for tools that look at ports."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from amaranth.lib.wiring import In, Out

from hw.boards.presets import load_config
from hw.rtl.axi.bus import AxiLiteSignature, AxiReadSignature, AxiWriteSignature, flat_members

__all__ = ["MASTERS", "empty_build", "top_verilog"]

#: Number of ports -> names of the masters.
MASTERS = {
    1: ("m_axi",),
    2: ("m_axi0", "m_axi1"),
    3: ("m_axi0", "m_axi1", "m_axi2"),
    4: ("m_axi0", "m_axi1", "m_axi2", "m_axi3"),
}


def top_verilog(masters: tuple[str, ...], data_width: int = 128, address_width: int = 40) -> str:
    """``nbqnn`` with these AXI masters, as :mod:`hw.rtl.verilog` would declare it."""
    members = flat_members("s_axi", In(AxiLiteSignature(12)))
    directions = {name: (member.flow is not Out, member) for name, member in members.items()}
    for master in masters:
        for signature in (
            AxiReadSignature(address_width, data_width),
            AxiWriteSignature(address_width, data_width),
        ):
            for name, member in flat_members(master, Out(signature)).items():
                directions[name] = (member.flow is In, member)
    lines = ["  input clk;", "  wire clk;", "  input rst;", "  wire rst;", "  output irq;"]
    lines += ["  wire irq;", "  assign irq = 1'b0;"]
    for name, (is_input, member) in directions.items():
        if name.startswith("s_axi"):
            # The signature is the master's; here it is the slave's end.
            is_input = member.flow is Out
        width = f" [{member.shape - 1}:0]" if member.shape > 1 else ""
        lines.append(f"  {'input' if is_input else 'output'}{width} {name};")
        lines.append(f"  wire{width} {name};")
        if not is_input:
            lines.append(f"  assign {name} = {member.shape}'d0;")
    names = ", ".join(["clk", "rst", "irq", *directions])
    return f"module nbqnn({names});\n" + "\n".join(lines) + "\nendmodule\n"


def empty_build(folder: Path, verilog: str, **values: object) -> Path:
    """A build folder around the text: the preset ``tiny`` on a wide port, changed by ``values``."""
    ports = {"axi_data_width": 128, "axi_address_width": 40}
    config = replace(load_config(preset="tiny"), **ports | values)
    (folder / "rtl").mkdir(parents=True)
    (folder / "hw.json").write_text(json.dumps(asdict(config)))
    (folder / "rtl" / "nbqnn.v").write_text(verilog)
    return folder
