"""Avnet's Ultra96-V2: a small Zynq UltraScale+ with ports into the processors' LPDDR4."""

from pathlib import Path

from hw.boards.board import Board
from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import BoardMemory

__all__ = ["BOARD"]

#: AMD DS891, XCZU3EG in the grade of the second version of the board.
BOARD = Board(
    name="ultra96",
    part="xczu3eg-sbva484-1-i",
    family="xcup",
    lut=70_560,
    ff=141_120,
    bram36=216,
    dsp=360,
    constraints=Path(__file__).with_name("zynq.xdc"),
    vivado_name="ultra96v2",
    # 32 bits of LPDDR4-2133: its peak. The latencies are those that the ZCU102 assumes.
    memory=BoardMemory(bytes_per_s=8.5e9, read_ns=128, write_ns=64),
    presets=(
        AcceleratorConfig(
            name="ultra96-8bit",
            lanes=16,
            filters=48,
            pixels=3,
            post_lanes=16,
            post_positions=2,
            act_depth=16384,
            weight_depth=1024,
            param_depth=512,
            axi_data_width=128,
            axi_ports=2,
            axi_address_width=36,
            clock_mhz=150,
        ),
    ),
)
