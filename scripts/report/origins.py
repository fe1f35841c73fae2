"""Checks that the results of a report are of the builds beside them."""

from collections.abc import Iterable
from pathlib import Path

from hw.contract.origin import Origin
from hw.synth.build import read_origin
from nbqnn_train.graph.errors import NbqnnError
from scripts.report.found import Found

__all__ = ["check_origins", "origin_of_result"]


def origin_of_result(content: object) -> Origin | None:
    """The origin of the build that a result was made from; None if the result does not say."""
    build = getattr(content, "build", None)
    try:
        return None if build is None else Origin.from_dict(build)
    except ValueError:
        return None


def check_origins(folder: Path, found: Iterable[Found]) -> None:
    """Raises :exc:`NbqnnError` for a result whose RTL is that of no build in the folder.

    Builds and results that do not state their origin are accepted.
    """
    builds, results = {}, {}
    for one in found:
        if one.kind == "build":
            builds[one.name] = read_origin(folder / one.name)
        else:
            results[one.name] = origin_of_result(one.content)
    if not builds or None in builds.values():
        return
    known = {origin.rtl for origin in builds.values()}
    for name, origin in results.items():
        if origin is not None and origin.rtl not in known:
            have = ", ".join(f"{build} ({made.short})" for build, made in builds.items())
            raise NbqnnError(
                f"result {name} is of the RTL {origin.short}, but the builds beside it are {have}; "
                "remedy: make it again, or report on another folder"
            )
