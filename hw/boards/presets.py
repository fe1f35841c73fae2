"""Configurations that have a name, and those that are read from files."""

import json
from collections.abc import Callable
from pathlib import Path

from hw.boards.registry import BOARDS
from hw.contract.config import AcceleratorConfig, ConfigError
from hw.contract.presets import SMALL_PRESETS

__all__ = ["PRESETS", "load_config"]

#: All presets by name: those of no board, then those of the boards.
PRESETS = {
    config.name: config
    for config in (*SMALL_PRESETS, *(one for board in BOARDS.values() for one in board.presets))
}


def load_config(preset: str | None = None, path: Path | None = None) -> AcceleratorConfig:
    """The configuration of that preset name, or of that TOML or JSON file (exactly one of the two).

    The file may be the ``hw.json`` of a build, under any name that ends with ``.json``; what it
    says about the build is ignored.

    Raises :exc:`ConfigError` for an unknown preset, an unreadable file or values that do not fit.
    """
    if (preset is None) == (path is None):
        raise ConfigError(
            "a configuration needs either a preset or a file: give --preset NAME or --config FILE"
        )
    if preset is not None:
        if preset not in PRESETS:
            raise ConfigError(f"preset must be one of {', '.join(PRESETS)}, not {preset!r}")
        return PRESETS[preset]
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows marks files
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"configuration {path} cannot be read: {reason}") from None
    is_json = path.suffix.lower() == ".json"
    parse = json.loads if is_json else _toml_parser()
    try:
        values = parse(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if is_json else "TOML"
        raise ConfigError(f"configuration {path} is not {kind}: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"configuration {path} must hold fields, not a {type(values).__name__}")
    if is_json:
        values.pop("build", None)
    if "kind" in values:
        raise ConfigError(
            f"{path} must describe an accelerator, not {values['kind']!r}; a circuit (generate "
            "--spatial) is simulated and synthesized by its folder alone, without a program"
        )
    return AcceleratorConfig.from_dict(values, str(path))


def _toml_parser() -> Callable[[str], dict]:
    # tomllib is not in Python 3.10, which some boards have. Only TOML files need it.
    try:
        import tomllib
    except ModuleNotFoundError:
        raise ConfigError("TOML needs Python 3.11; remedy: the same fields as JSON") from None
    return tomllib.loads
