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

#: File in folders of netlists and bitstreams that says which build they are made from.
ORIGIN = "build.json"


@dataclass(frozen=True, kw_only=True)
class Build:
    """What ``nbqnn generate`` wrote.

    verilog : text for simulators and any family. Synthesis takes :meth:`verilog_for`.
    top : name of the outermost module, the last one in the text.
    origin : what the build was made from, by its ``hw.json``; None if that does not say.
    """

    path: Path
    config: AcceleratorConfig
    verilog: str
    top: str
    origin: Origin | None = None

    @property
    def is_as_generated(self) -> bool:
        """Whether the Verilog is unchanged since ``generate``; True if ``hw.json`` does not say."""
        return self.origin is None or self.origin.rtl == rtl_digest(self.verilog)

    @property
    def made_from(self) -> Origin:
        """``origin``; if there is none, an origin with only the digest of the Verilog."""
        return self.origin or Origin(rtl=rtl_digest(self.verilog), tools={}, commit=None)

    def check_as_generated(self) -> None:
        """Raises :exc:`NbqnnError` if the Verilog and ``hw.json`` do not belong together."""
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
    """The accelerator's Verilog, with modules replaced for which the family has cells.

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
    """Reads the folder ``path``. Raises :exc:`NbqnnError` if it is not a build."""
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
    """The origin under ``build`` in a file of JSON; None if there is none.

    Raises :exc:`NbqnnError` for any other file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Origin.from_dict(values["build"]) if "build" in values else None
    except OSError as error:
        raise NbqnnError(f"file {str(path)!r} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise NbqnnError(f"file {str(path)!r}: {error}") from None


def origin_json(design: Build) -> str:
    """The text of the file :data:`ORIGIN` in a folder that is made from the build."""
    return json.dumps({"build": design.made_from.to_dict()}, indent=2) + "\n"
