"""TUL's PYNQ-Z2: Zynq-7000, a 7 series FPGA with ports into the processors' DDR3."""

from pathlib import Path

from hw.boards.board import Board
from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import BoardMemory

__all__ = ["BOARD"]

#: AMD DS190, XC7Z020.
BOARD = Board(
    name="pynq-z2",
    part="xc7z020clg400-1",
    family="xc7",
    lut=53_200,
    ff=106_400,
    bram36=140,
    dsp=220,
    constraints=Path(__file__).with_name("zynq.xdc"),
    # 16 bits of DDR3-1050: its peak. The latencies are those that the ZCU102 assumes.
    memory=BoardMemory(bytes_per_s=2.1e9, read_ns=128, write_ns=64),
    presets=(
        AcceleratorConfig(
            name="pynq-z2-8bit",
            lanes=16,
            filters=32,
            pixels=3,
            post_lanes=16,
            post_positions=2,
            act_depth=16384,
            weight_depth=512,
            param_depth=512,
            axi_data_width=64,
            axi_ports=2,
            axi_address_width=32,
            clock_mhz=100,
        ),
    ),
)
