"""A generated build folder, as synthesis sees it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from hw.boards.presets import load_config
from hw.contract.config import AcceleratorConfig
from hw.contract.origin import Origin, rtl_digest
from hw.rtl.accelerator import Accelerator
from hw.rtl.ultrascale.twins import FAMILIES, explicit_verilog
from hw.rtl.verilog import VerilogLibrary
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["ORIGIN", "Build", "family_verilog", "origin_json", "read_build", "read_origin"]

#: In folders of netlists and bitstreams: what build they are made from.
ORIGIN = "build.json"


@dataclass(frozen=True, kw_only=True)
class Build:
    """What ``nbqnn generate`` wrote.

    verilog : for simulators and for any family; :meth:`verilog_for` is the one to synthesize.
    top : name of the outermost module, the last one in the text.
    origin : what ``hw.json`` says that it was made from; None if it says nothing.
    """

    path: Path
    config: AcceleratorConfig
    verilog: str
    top: str
    origin: Origin | None = None

    @property
    def is_as_generated(self) -> bool:
        """Whether the Verilog is the one that ``hw.json`` was written with, as far as it says."""
        return self.origin is None or self.origin.rtl == rtl_digest(self.verilog)

    @property
    def made_from(self) -> Origin:
        """``origin``, or what is known without: the digest of the Verilog."""
        return self.origin or Origin(rtl=rtl_digest(self.verilog), tools={}, commit=None)

    def check_as_generated(self) -> None:
        """:exc:`NbqnnError` if the Verilog was changed since, or ``hw.json`` is of another one."""
        if not self.is_as_generated:
            raise NbqnnError(
                f"build {str(self.path)!r}: rtl/nbqnn.v must have the digest "
                f"{self.origin.rtl[:12]} of hw.json, not {rtl_digest(self.verilog)[:12]}; "
                "remedy: generate it again"
            )

    def verilog_for(self, family: str) -> str:
        """The Verilog to synthesize for a board's ``family``."""
        return family_verilog(self.verilog, self.config, family)


def family_verilog(verilog: str, config: AcceleratorConfig, family: str) -> str:
    """The accelerator's Verilog with those modules replaced that the family has cells for.

    For UltraScale+ ("xcup") and the 7 series ("xc7") these are the processing elements and the
    cells. Ports and results stay the same. Raises :exc:`NbqnnError` if another version wrote the
    Verilog.
    """
    if family not in FAMILIES:
        return verilog
    plain = VerilogLibrary()
    plain.add(Accelerator(config))
    return explicit_verilog(verilog, plain.components, family)


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
    origin = read_origin(path / "hw.json")
    return Build(path=path, config=config, verilog=verilog, top=modules[-1], origin=origin)


def read_origin(path: Path) -> Origin | None:
    """What a file of JSON says under ``build``; None if nothing.

    Raises :exc:`NbqnnError` for what is no such file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Origin.from_dict(values["build"]) if "build" in values else None
    except OSError as error:
        raise NbqnnError(f"file {str(path)!r} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise NbqnnError(f"file {str(path)!r}: {error}") from None


def origin_json(design: Build) -> str:
    """What :data:`ORIGIN` holds in a folder that is made from the build."""
    return json.dumps({"build": design.made_from.to_dict()}, indent=2) + "\n"
