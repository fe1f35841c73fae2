"""Configurations that have a name, and those that are read from files."""

import json
import tomllib
from pathlib import Path

from hw.contract.config import AcceleratorConfig, ConfigError

__all__ = ["PRESETS", "load_config"]


#: What tests and the small board have in common.
_SMALL = {
    "lanes": 8,
    "filters": 8,
    "pixels": 1,
    "post_lanes": 4,
    "acc_bits": 20,
    "act_depth": 1024,
    "weight_depth": 256,
    "param_depth": 64,
    "axi_data_width": 32,
    "axi_address_width": 32,
}


#: What the configurations for the ZCU102 have in common.
_ZCU102 = {
    "filters": 32,
    "post_lanes": 32,
    "act_depth": 32768,
    "weight_depth": 1024,
    "param_depth": 512,
    "axi_data_width": 128,
    "axi_ports": 4,
    # As far as the processor's memory goes: its upper part ends below 64 GiB.
    "axi_address_width": 36,
}


PRESETS = {
    config.name: config
    for config in (
        AcceleratorConfig(name="tiny", **_SMALL),
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
        # For a small open board, with a host interface of 32 bits beside it.
        AcceleratorConfig(name="ulx3s", clock_mhz=65, **_SMALL),
        # Four positions drained a cycle: residual networks have many outputs of few steps.
        AcceleratorConfig(
            name="zcu102-8bit",
            lanes=64,
            pixels=5,
            post_positions=4,
            acc_bits=24,
            **_ZCU102,
        ),
        AcceleratorConfig(
            name="zcu102-16bit",
            lanes=32,
            act_bits=16,
            acc_bits=32,
            **_ZCU102 | {"filters": 64, "pixels": 3},
        ),
        # The baseline with 16-bit multipliers: as many as 2,520 DSP blocks leave room for, next to
        # those of the channel-wise sums.
        AcceleratorConfig(
            name="zcu102-vpe16",
            lanes=32,
            act_bits=16,
            acc_bits=40,
            pe="multiply",
            **_ZCU102 | {"filters": 24, "pixels": 3, "post_lanes": 8, "weight_depth": 512},
        ),
    )
}


def load_config(preset: str | None = None, path: Path | None = None) -> AcceleratorConfig:
    """The configuration of that preset name, or of that TOML or JSON file (exactly one of the two).

    Raises :exc:`ConfigError` for an unknown preset, an unreadable file or values that do not fit.
    """
    if (preset is None) == (path is None):
        raise ConfigError("a configuration needs either a preset or a file")
    if preset is not None:
        if preset not in PRESETS:
            raise ConfigError(f"preset must be one of {', '.join(PRESETS)}, not {preset!r}")
        return PRESETS[preset]
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"configuration {path} cannot be read: {reason}") from None
    try:
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigError(f"configuration {path} is not {kind}: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"configuration {path} must hold fields, not a {type(values).__name__}")
    return AcceleratorConfig.from_dict(values, str(path))
