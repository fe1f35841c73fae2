"""Configurations of no board: for tests and the demo."""

from hw.contract.config import AcceleratorConfig

__all__ = ["SMALL_PRESETS"]

SMALL_PRESETS = (
    AcceleratorConfig(
        name="tiny",
        lanes=8,
        filters=8,
        pixels=1,
        post_lanes=4,
        acc_bits=20,
        act_depth=1024,
        weight_depth=256,
        param_depth=64,
        axi_data_width=32,
        axi_address_width=32,
    ),
    AcceleratorConfig(
        name="digits",
        lanes=16,
        filters=16,
        pixels=2,
        post_lanes=16,
        acc_bits=20,
        act_depth=1024,
        weight_depth=256,
        param_depth=64,
        axi_data_width=64,
        axi_address_width=40,
    ),
)
