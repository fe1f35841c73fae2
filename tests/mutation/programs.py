"""Whether the compiler around it makes the same programs as another did: ``python -m`` this.

    python -m tests.mutation.programs write FOLDER
    python -m tests.mutation.programs compare FOLDER

The first one draws networks as ``tests/hw/compiler/test_operators.py`` does, checks their programs
and keeps their digests. The second one compiles them again. It prints "same" or "different", or
"wrong" and which one it was: the compiler failed with no error for the user, or the program does
not compute what the interpreter computes. Only programs that are different have to be run for that.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

from hw.compiler import CompileError, compile_graph, save_program
from hw.contract.config import AcceleratorConfig
from hw.contract.program import Program
from nbqnn_train.graph import load, run_codes, save
from tests.hw.accelerators import BENCHED, VERILATED
from tests.hw.compiler.test_operators import drawn
from tests.hw.machine import run_program

__all__ = ["compare", "write"]

_CONFIGS = {config.name: config for config in (*VERILATED.values(), *BENCHED.values())}
#: Of each configuration.
_EXAMPLES = 15


@dataclass(frozen=True)
class _Kept:
    """A network, how it is compiled, and the digest of its program; None if it was refused."""

    config: str
    options: dict
    memories: dict
    digest: str | None


def _compiled(folder: Path, number: int, kept: _Kept) -> tuple[Program | None, str | None]:
    """The program and its digest; None for both if it is refused."""
    config = replace(_CONFIGS[kept.config], **kept.memories)
    try:
        program = compile_graph(load(folder / f"{number}.graph"), config, **kept.options)
    except CompileError:
        return None, None
    save_program(program, folder / "program")
    return program, hashlib.sha256((folder / "program").read_bytes()).hexdigest()


def _draw(keep: Callable[..., None], config: AcceleratorConfig) -> None:
    settings(
        max_examples=_EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(given(**drawn(config))(keep))()


def write(folder: Path) -> None:
    """Draws networks, compiles them and keeps them in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    found: list[_Kept] = []
    for name, config in _CONFIGS.items():

        def keep(case, traced, depth, weight_depth, batch):
            number = len(found)
            save(case.graph, folder / f"{number}.graph")
            np.savez(folder / f"{number}.npz", **case.codes)
            memories = {"act_depth": depth, "weight_depth": weight_depth}
            kept = _Kept(name, {"batch": batch, "traced": traced}, memories, None)  # noqa: B023
            program, digest = _compiled(folder, number, kept)
            if program is not None:
                _check(program, folder / f"{number}.npz")
            found.append(replace(kept, digest=digest))

        _draw(keep, config)
    (folder / "kept.json").write_text(json.dumps([vars(one) for one in found]), encoding="utf-8")


def compare(folder: Path) -> str:
    """What this module prints."""
    kept = [_Kept(**one) for one in json.loads((folder / "kept.json").read_text("utf-8"))]
    outcome = "same"
    for number, one in _alternating(kept):
        try:
            program, digest = _compiled(folder, number, one)
            if digest == one.digest:
                continue
            outcome = "different"
            if program is not None:
                _check(program, folder / f"{number}.npz")
        except Exception as error:
            text = " ".join(str(error).split())[:100]
            return f"wrong: program {number} of {one.config}: {type(error).__name__}: {text}"
    return outcome


def _alternating(kept: list[_Kept]) -> Iterator[tuple[int, _Kept]]:
    """The first of each configuration, then the second of each: most changes show in any."""
    places: dict[str, int] = {}
    order = []
    for number, one in enumerate(kept):
        places[one.config] = places.get(one.config, 0) + 1
        order.append((places[one.config], number))
    return ((number, kept[number]) for _, number in sorted(order))


def _check(program: Program, codes: Path) -> None:
    """Raises :exc:`AssertionError` unless the program computes what the interpreter computes."""
    with np.load(codes) as arrays:
        images = {name: arrays[name] for name in arrays.files}
    count = len(next(iter(images.values())))
    chosen = [index % count for index in range(program.batch)]
    images = {name: values[chosen] for name, values in images.items()}
    expected = run_codes(program.graph, images, trace=True)
    for tensor, found in run_program(program, images).items():
        assert np.array_equal(found, expected[tensor].reshape(found.shape)), tensor


if __name__ == "__main__":
    what, place = sys.argv[1], Path(sys.argv[2])
    if what == "write":
        write(place)
    else:
        print(compare(place))
