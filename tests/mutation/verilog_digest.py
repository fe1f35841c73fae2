"""Prints a digest of all Verilog that the sources around it generate: ``python -m`` this.

Two versions of the sources with the same digest are the same hardware.
"""

import hashlib

from hw.boards.presets import PRESETS
from hw.boards.registry import BOARDS
from hw.rtl.generate import accelerator_verilog
from hw.rtl.verilog import emit
from hw.synth.build import family_verilog
from tests.hw.accelerators import BENCHED, VERILATED

__all__ = ["verilog_digest"]


def verilog_digest() -> str:
    """SHA-256 over accelerators, their UltraScale+ variants and boards' shells."""
    digest = hashlib.sha256()
    for config in (*BENCHED.values(), *VERILATED.values(), PRESETS["tiny"]):
        verilog = accelerator_verilog(config)
        digest.update(verilog.encode())
        digest.update(family_verilog(verilog, config, "xcup").encode())
    for board in BOARDS.values():
        if board.shell is not None:
            digest.update(emit(board.shell.build(PRESETS["tiny"])).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    print(verilog_digest())
