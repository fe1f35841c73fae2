"""Finds the Verilog on which a program is simulated."""

from dataclasses import dataclass
from pathlib import Path

from hw.contract.origin import Origin, check_same_build, rtl_digest
from hw.contract.program import Program
from hw.rtl.accelerator import TOP
from hw.rtl.generate import accelerator_verilog, origin_of
from hw.synth.build import read_build
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["Design", "built_design", "generated_design"]


@dataclass(frozen=True)
class Design:
    """Verilog with the top module :data:`hw.rtl.accelerator.TOP`, and where it comes from.

    ``as_generated`` is False if someone changed the Verilog of a build.
    """

    verilog: str
    origin: Origin
    as_generated: bool = True


def generated_design(program: Program) -> Design:
    """The accelerator for the program's configuration, generated now.

    Raises :exc:`NbqnnError` if the program was compiled for a build whose Verilog is different.
    """
    verilog = accelerator_verilog(program.config)
    origin = origin_of(verilog)
    check_same_build(
        "the program",
        program.build,
        "what is generated now",
        origin,
        "simulate with --hw and its build, or generate and compile again",
    )
    return Design(verilog, origin)


def built_design(program: Program, folder: Path) -> Design:
    """The Verilog in the folder of a build, unchanged.

    Raises :exc:`NbqnnError` if the folder is no build, or if the program was compiled for another
    configuration or other Verilog.
    """
    build = read_build(folder)
    if build.config.digest != program.config.digest:
        raise NbqnnError(
            f"build {str(folder)!r} must have the program's configuration "
            f"{program.config.digest:#010x} ({program.config.name}), not "
            f"{build.config.digest:#010x} ({build.config.name})"
        )
    if build.top != TOP:
        raise NbqnnError(f"build {str(folder)!r} must end with module {TOP}, not {build.top}")
    check_same_build(
        "the program",
        program.build,
        f"build {str(folder)!r}",
        build.origin,
        "compile it for this build",
    )
    described = build.made_from
    origin = Origin(rtl=rtl_digest(build.verilog), tools=described.tools, commit=described.commit)
    return Design(build.verilog, origin, build.is_as_generated)
