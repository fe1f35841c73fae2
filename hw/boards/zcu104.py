"""AMD's ZCU104: Zynq UltraScale+ with four ports into the processors' DDR4."""

from pathlib import Path

from hw.boards.board import Board
from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import BoardMemory

__all__ = ["BOARD"]

#: AMD DS891, XCZU7EV. Its 96 URAM are not used.
BOARD = Board(
    name="zcu104",
    part="xczu7ev-ffvc1156-2-e",
    family="xcup",
    lut=230_400,
    ff=460_800,
    bram36=312,
    dsp=1_728,
    constraints=Path(__file__).with_name("zynq.xdc"),
    # 64 bits of DDR4-2400: its peak. The latencies are those that the ZCU102 assumes.
    memory=BoardMemory(bytes_per_s=19.2e9, read_ns=128, write_ns=64),
    presets=(
        AcceleratorConfig(
            name="zcu104-8bit",
            lanes=32,
            filters=48,
            pixels=6,
            post_lanes=16,
            post_positions=4,
            act_depth=8192,
            weight_depth=1024,
            param_depth=512,
            axi_data_width=128,
            axi_ports=4,
            axi_address_width=36,
        ),
    ),
)
