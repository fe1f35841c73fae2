"""Whether the sources around it generate the same hardware as others did: ``python -m`` this.

    python -m tests.mutation.rtl_digest write rtlil FILE
    python -m tests.mutation.rtl_digest compare rtlil FILE [SOURCE]

The second one prints "same", or "different" at the first module that differs; those that the
source describes come first. Equal RTLIL makes equal Verilog. It is made several times as fast, but
other RTLIL may make equal Verilog.
"""

import hashlib
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from hw.boards.presets import PRESETS
from hw.boards.registry import BOARDS
from hw.rtl.accelerator import Accelerator
from hw.rtl.component import Component
from hw.rtl.ultrascale.carry import Series7CarryChain
from hw.rtl.ultrascale.twins import ultrascale_twin
from hw.rtl.verilog import VerilogLibrary
from tests.hw.accelerators import BENCHED, VERILATED

__all__ = ["digests"]


def digests(form: str, source: str = "") -> Iterator[tuple[str, str]]:
    """(name, digest) of modules of accelerators, of their cells of UltraScale+, of boards' shells.

    ``form`` is "rtlil", or "verilog" for each design as a whole. Of each design those modules come
    first whose classes are in the file ``source``.
    """
    for number, components in enumerate(_hardware()):
        library = VerilogLibrary()
        for component in components:
            library.add(component)
        if form == "verilog":
            yield str(number), _digest(library.verilog())
            continue
        elsewhere = {
            one.module_name: not inspect.getfile(type(one)).endswith(source)
            for one in library.components
        }
        for name in sorted(elsewhere, key=elsewhere.get):
            yield f"{number} {name}", _digest("\n".join(library.rtlil([name])))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _hardware() -> Iterator[list[Component]]:
    configs = (*BENCHED.values(), *VERILATED.values(), PRESETS["tiny"])
    for config in configs:
        yield [Accelerator(config)]
    for config in configs:
        plain = VerilogLibrary()
        plain.add(Accelerator(config))
        yield [twin for one in plain.components if (twin := ultrascale_twin(one))]
    yield [Series7CarryChain(width=width) for width in (4, 9)]
    for board in BOARDS.values():
        if board.shell is not None:
            yield [board.shell.build(PRESETS["tiny"])]


def _same(before: dict[str, str], form: str, source: str) -> bool:
    left = dict(before)
    return all(left.pop(name, None) == one for name, one in digests(form, source)) and not left


if __name__ == "__main__":
    what, form, path, *source = sys.argv[1:]
    if what == "write":
        Path(path).write_text(json.dumps(dict(digests(form))), encoding="utf-8")
    else:
        before = json.loads(Path(path).read_text(encoding="utf-8"))
        print("same" if _same(before, form, "".join(source)) else "different")
