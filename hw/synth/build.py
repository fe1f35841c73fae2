"""A generated build folder, as synthesis sees it."""

import re
from dataclasses import dataclass
from pathlib import Path

from hw.boards.presets import load_config
from hw.contract.config import AcceleratorConfig
from hw.rtl.accelerator import Accelerator
from hw.rtl.ultrascale.twins import explicit_verilog
from hw.rtl.verilog import VerilogLibrary
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["Build", "family_verilog", "read_build"]


@dataclass(frozen=True, kw_only=True)
class Build:
    """What ``nbqnn generate`` wrote.

    verilog : for simulators and for any family; :meth:`verilog_for` is the one to synthesize.
    top : name of the outermost module, the last one in the text.
    """

    path: Path
    config: AcceleratorConfig
    verilog: str
    top: str

    def verilog_for(self, family: str) -> str:
        """The Verilog to synthesize for a board's ``family``."""
        return family_verilog(self.verilog, self.config, family)


def family_verilog(verilog: str, config: AcceleratorConfig, family: str) -> str:
    """The accelerator's Verilog with those modules replaced that the family has cells for.

    For UltraScale+ ("xcup") these are the processing elements and the cells. Ports and results stay
    the same.
    """
    if family != "xcup":
        return verilog
    plain = VerilogLibrary()
    plain.add(Accelerator(config))
    return explicit_verilog(verilog, plain.components)


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
