"""Whether the sources around it generate the same hardware as others did: ``python -m`` this.

    python -m tests.mutation.rtl_digest write rtlil FILE
    python -m tests.mutation.rtl_digest compare rtlil FILE

The second one prints "same", or "different" at the first accelerator that differs. Equal RTLIL
makes equal Verilog. It is made several times as fast, but other RTLIL may make equal Verilog.
"""

import hashlib
import sys
from collections.abc import Iterator
from itertools import zip_longest
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


def digests(form: str) -> Iterator[str]:
    """Of accelerators, of their cells of UltraScale+, of boards' shells.

    ``form`` is "rtlil" or "verilog".
    """
    for components in _hardware():
        library = VerilogLibrary()
        for component in components:
            library.add(component)
        texts = library.rtlil() if form == "rtlil" else [library.verilog()]
        yield hashlib.sha256("\n".join(texts).encode()).hexdigest()


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


if __name__ == "__main__":
    what, form, path = sys.argv[1:]
    if what == "write":
        Path(path).write_text("\n".join(digests(form)), encoding="utf-8")
    else:
        before = Path(path).read_text(encoding="utf-8").splitlines()
        pairs = zip_longest(before, digests(form))
        print("same" if all(old == new for old, new in pairs) else "different")
