"""AMD's ZCU102: Zynq UltraScale+ with four ports from the FPGA into the processors' DDR4."""

from pathlib import Path

from hw.boards.board import Board
from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import BoardMemory

__all__ = ["BOARD"]

#: Fields that all of the board's configurations share.
_COMMON = {
    "filters": 32,
    "post_lanes": 32,
    "act_depth": 32768,
    "weight_depth": 1024,
    "param_depth": 512,
    "axi_data_width": 128,
    "axi_ports": 4,
    # The upper part of the processor's memory ends below 64 GiB.
    "axi_address_width": 36,
}

#: AMD DS891, XCZU9EG.
BOARD = Board(
    name="zcu102",
    part="xczu9eg-ffvb1156-2-e",
    family="xcup",
    lut=274_080,
    ff=548_160,
    bram36=912,
    dsp=2_520,
    constraints=Path(__file__).with_name("zynq.xdc"),
    # The bandwidth is the peak of 64 bits of DDR4-2133 behind the processor system. The latencies
    # are our assumptions (32 and 16 cycles at 250 MHz) and have not been measured.
    memory=BoardMemory(bytes_per_s=17.1e9, read_ns=128, write_ns=64),
    presets=(
        # Four positions are drained a cycle: residual networks have many outputs with few steps.
        # Tables and products are for mobile networks with squeeze and excite, and so are three taps
        # in a step of depthwise layers.
        AcceleratorConfig(
            name="zcu102-8bit",
            lanes=64,
            pixels=5,
            post_positions=4,
            acc_bits=24,
            tables=True,
            products=True,
            depthwise_taps=3,
            **_COMMON,
        ),
        AcceleratorConfig(
            name="zcu102-16bit",
            lanes=32,
            act_bits=16,
            acc_bits=32,
            **_COMMON | {"filters": 64, "pixels": 3},
        ),
        # The products of four pixels, and of some filters of two more, are in 2,176 DSP blocks. So
        # there is room for two pixels more.
        AcceleratorConfig(
            name="zcu102-8bit-hybrid",
            lanes=64,
            pixels=7,
            dsp_pixels=4,
            dsp_filters=4,
            post_positions=4,
            acc_bits=24,
            tables=True,
            products=True,
            depthwise_taps=3,
            **_COMMON,
        ),
        AcceleratorConfig(
            name="zcu102-16bit-hybrid",
            lanes=32,
            act_bits=16,
            acc_bits=32,
            dsp_pixels=2,
            dsp_filters=12,
            **_COMMON | {"filters": 64, "pixels": 5},
        ),
        # Weights of -1, 0 and 1: two bits of a product share a table.
        AcceleratorConfig(
            name="zcu102-2bit",
            lanes=64,
            pixels=4,
            post_positions=4,
            weight_bits=2,
            acc_bits=24,
            tables=True,
            products=True,
            **_COMMON | {"filters": 64},
        ),
        AcceleratorConfig(
            name="zcu102-4bit",
            lanes=64,
            pixels=5,
            post_positions=4,
            act_bits=4,
            acc_bits=20,
            tables=True,
            products=True,
            **_COMMON | {"filters": 64},
        ),
        # Weights of up to 64 in magnitude. Their lanes are the largest.
        AcceleratorConfig(
            name="zcu102-w4",
            lanes=64,
            pixels=3,
            post_positions=3,
            weight_bits=4,
            acc_bits=28,
            tables=True,
            products=True,
            **_COMMON,
        ),
        # The baseline with 16-bit multipliers. 2,520 DSP blocks have no room for more, beside those
        # of the channel-wise sums.
        AcceleratorConfig(
            name="zcu102-vpe16",
            lanes=32,
            act_bits=16,
            acc_bits=40,
            pe="multiply",
            **_COMMON | {"filters": 24, "pixels": 3, "post_lanes": 8, "weight_depth": 512},
        ),
    ),
)
