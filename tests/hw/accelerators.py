"""Small accelerators whose parameters differ in everything, so that few builds cover much."""

from functools import cache

from hw.contract.config import AcceleratorConfig
from hw.rtl.generate import accelerator_verilog

__all__ = ["BENCHED", "VERILATED", "verilog_of"]

_SMALL = {
    "lanes": 4,
    "filters": 4,
    "act_depth": 1024,
    "weight_depth": 64,
    "param_depth": 16,
    "axi_address_width": 32,
}

#: Run between the models of cocotbext-axi.
BENCHED = {
    "shift_32": AcceleratorConfig(
        **_SMALL | {"name": "shift_32", "pixels": 1, "post_lanes": 4, "axi_data_width": 32}
    ),
    "scale_64": AcceleratorConfig(
        **_SMALL
        | {
            "name": "scale_64",
            "pixels": 2,
            "post_lanes": 2,
            "post_positions": 2,
            "act_bits": 16,
            "weight_bits": 4,
            "acc_bits": 32,
            "requant": "scale",
            "axi_data_width": 64,
            "axi_address_width": 40,
            "axi_ports": 2,
        }
    ),
    "multiply_128": AcceleratorConfig(
        **_SMALL
        | {
            "name": "multiply_128",
            "pixels": 3,
            "post_lanes": 1,
            "pe": "multiply",
            "axi_data_width": 128,
        }
    ),
}

#: Run from C++, for many networks each.
VERILATED = {
    # More filters than lanes: outputs of one filter group fill two words.
    "shift_64": AcceleratorConfig(
        **_SMALL
        | {
            "name": "shift_64",
            "filters": 8,
            "pixels": 2,
            "post_lanes": 4,
            "axi_data_width": 64,
            "tables": True,
            "products": True,
        }
    ),
    # Fewer and unaligned filters: several filter groups share one word. Channel-wise sums take
    # three taps of three positions, which are five words. Two of four pixels are in DSP blocks,
    # with four lanes in each.
    "scale_32": AcceleratorConfig(
        **_SMALL
        | {
            "name": "scale_32",
            "lanes": 8,
            "filters": 6,
            "pixels": 4,
            "post_lanes": 2,
            "post_positions": 3,
            "depthwise_taps": 3,
            "dsp_pixels": 2,
            "requant": "scale",
            "axi_data_width": 32,
            "tables": True,
            "products": True,
        }
    ),
    "multiply_256": AcceleratorConfig(
        **_SMALL
        | {
            "name": "multiply_256",
            "pixels": 4,
            "post_lanes": 4,
            "post_positions": 3,
            "act_bits": 16,
            "weight_bits": 4,
            "acc_bits": 36,
            "pe": "multiply",
            "requant": "scale",
            "axi_data_width": 256,
            "tables": True,
            "products": True,
            "axi_address_width": 64,
        }
    ),
    # One of three pixels in cascades of DSP blocks, for some filters two: results come forty cycles
    # after their steps.
    "hybrid_64": AcceleratorConfig(
        **_SMALL
        | {
            "name": "hybrid_64",
            "lanes": 8,
            "filters": 6,
            "pixels": 3,
            "post_lanes": 2,
            "post_positions": 2,
            "dsp_pixels": 1,
            "dsp_filters": 2,
            "axi_data_width": 64,
            "tables": True,
            "products": True,
        }
    ),
    # As little of everything as there can be.
    "least_32": AcceleratorConfig(
        name="least_32",
        lanes=2,
        filters=3,
        pixels=1,
        post_lanes=1,
        act_bits=4,
        weight_bits=2,
        acc_bits=12,
        act_depth=128,
        weight_depth=16,
        param_depth=8,
        tables=True,
        products=True,
        axi_data_width=32,
        axi_address_width=32,
    ),
}


@cache
def verilog_of(config: AcceleratorConfig) -> str:
    """The accelerator's Verilog, generated once in each worker: that takes seconds."""
    return accelerator_verilog(config)
