"""AMD's KV260: a K26 module, Zynq UltraScale+, with four ports into the processors' DDR4."""

from pathlib import Path

from hw.boards.board import Board
from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import BoardMemory

__all__ = ["BOARD"]

#: AMD DS987, XCK26 at its low voltage. Its 64 URAM are not used.
BOARD = Board(
    name="kv260",
    part="xck26-sfvc784-2LV-c",
    family="xcup",
    lut=117_120,
    ff=234_240,
    bram36=144,
    dsp=1_248,
    constraints=Path(__file__).with_name("zynq.xdc"),
    vivado_name="kv260_som",
    # 64 bits of DDR4-2400: its peak. The latencies are those that the ZCU102 assumes.
    memory=BoardMemory(bytes_per_s=19.2e9, read_ns=128, write_ns=64),
    presets=(
        AcceleratorConfig(
            name="kv260-8bit",
            lanes=32,
            filters=32,
            pixels=4,
            post_lanes=16,
            post_positions=4,
            act_depth=4096,
            weight_depth=512,
            param_depth=512,
            axi_data_width=128,
            axi_ports=4,
            axi_address_width=36,
            clock_mhz=200,
        ),
    ),
)
