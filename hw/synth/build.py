"""A generated build folder, as synthesis sees it."""

import re
from dataclasses import dataclass
from pathlib import Path

from hw.config import AcceleratorConfig, load_config
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["Build", "read_build"]


@dataclass(frozen=True, kw_only=True)
class Build:
    """What ``nbqnn generate`` wrote.

    top : name of the outermost module, the last one in the text.
    """

    path: Path
    config: AcceleratorConfig
    verilog: str
    top: str


def read_build(path: Path) -> Build:
    """Reads the folder ``path``; :exc:`NbqnnError` if it is not a build."""
    path = Path(path)
    if not (path / "hw.json").is_file():
        raise NbqnnError(f"build {str(path)!r} must be a folder that generate wrote: no hw.json")
    config = load_config(path=path / "hw.json")
    try:
        verilog = (path / "rtl" / "nbqnn.v").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise NbqnnError(f"build {str(path)!r}: rtl/nbqnn.v cannot be read: {reason}") from None
    modules = re.findall(r"^module (\w+)", verilog, flags=re.MULTILINE)
    if not modules:
        raise NbqnnError(f"build {str(path)!r}: rtl/nbqnn.v must hold modules, but has none")
    return Build(path=path, config=config, verilog=verilog, top=modules[-1])
