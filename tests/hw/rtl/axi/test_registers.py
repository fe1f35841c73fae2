# amaranth: UnusedElaboratable=no
"""The register map: its checks, the register file, docs and header."""

import copy
import shutil
import subprocess
from pathlib import Path

import pytest

from hw.contract.register_docs import to_c_header, to_markdown
from hw.contract.register_map import Access, Field, Register, RegisterArray, RegisterMap
from hw.rtl.axi.register_file import AxiLiteRegisters
from hw.rtl.verilog import emit
from sim.runner import run_bench
from sim.verilator import lint
from tests.hw.rtl.axi.designs import REGISTER_MAP, RegisterBench


def register(**changes):
    return Register(**({"name": "r", "offset": 0, "access": Access.RW} | changes))


@pytest.mark.timeout(300)
def test_register_file():
    bench = Path(__file__).with_name("bench_registers.py")
    assert run_bench(emit(RegisterBench()), RegisterBench.module_name, bench) == 13


def test_lint(tmp_path):
    assert lint(emit(RegisterBench()), RegisterBench.module_name, tmp_path) == ""


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": "R"}, ValueError, r"Register name must be lower-case .*, not 'R'"),
        ({"offset": 2}, ValueError, r"Offset of register r must be a multiple of 4, not 2"),
        ({"offset": -4}, ValueError, r"Offset of register r must be a multiple of 4, not -4"),
        ({"access": "rw"}, TypeError, r"Access of register r must be an Access, not 'rw'"),
        ({"width": 33}, ValueError, r"Width of register r must be 1\.\.32 bits, not 33"),
        ({"width": 2, "reset": 4}, ValueError, r"Reset value of register r must fit 2 bits"),
        ({"access": Access.RO, "reset": 1}, ValueError, r"Register r must be rw or w1c .* not ro"),
        (
            {"width": 4, "fields": (Field(name="f", offset=3, width=2),)},
            ValueError,
            r"Field f of register r must have bits of its own in 0\.\.3, not 2 from 3",
        ),
        (
            {"width": 4, "reset": 5, "fields": (Field(name="f", offset=0, width=2),)},
            ValueError,
            r"Reset value of register r must be of its fields, not 0x5",
        ),
        (
            {"fields": (Field(name="f", offset=0, width=2), Field(name="g", offset=1))},
            ValueError,
            "Field g of register r must have bits of its own",
        ),
    ],
)
def test_refused_registers(changes, error, message):
    with pytest.raises(error, match=f"^{message}"):
        register(**changes)


def test_fields_by_name():
    """Packing and unpacking against the bits as they are written out in the map."""
    control = REGISTER_MAP.control
    assert control.pack(start=1, mode=0b1010) == 0b1010_0000_0001
    assert control.pack(mode=1) == 0x100
    assert control.pack() == 0
    assert vars(control.unpack(0xFFFF_F5F0)) == {"start": 0, "mode": 5}
    assert REGISTER_MAP.stamps.words == 12
    assert copy.deepcopy(REGISTER_MAP) == REGISTER_MAP


def test_refused_fields():
    with pytest.raises(
        ValueError, match=r"^Field of register control must be one of start, mode, "
    ):
        REGISTER_MAP.control.pack(stop=1)
    with pytest.raises(
        ValueError, match=r"^Field mode of register control must be 0\.\.15, not 16$"
    ):
        REGISTER_MAP.control.pack(mode=16)
    with pytest.raises(AttributeError, match=r"^there is no register 'controls'$"):
        REGISTER_MAP.controls.pack()


def test_refused_maps():
    with pytest.raises(ValueError, match=r"^Register names must differ, not be 'r' twice$"):
        RegisterMap((register(), register(offset=4)))
    with pytest.raises(ValueError, match=r"^Register w must have an offset .* 0x8, which is r's$"):
        RegisterMap((register(offset=8),), (RegisterArray(name="w", offset=0, words=3),))
    with pytest.raises(ValueError, match=r"^Words of array w must be 2 or more, not 1$"):
        RegisterArray(name="w", offset=0, words=1)
    with pytest.raises(ValueError, match=r"^Address width must reach 112 bytes .*, not 6 bits$"):
        AxiLiteRegisters(REGISTER_MAP, 6)


def test_markdown():
    text = to_markdown(REGISTER_MAP)
    assert "| `0x000c` | `base` | rw | 32 | `0x12345678` | Where. |" in text
    assert "| `0x0040`…`0x006c` | `stamps` | ro | 32 |  | When. |" in text
    assert "| `control` | 11:8 | `mode` | How. |" in text


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_c_header(tmp_path):
    """The header compiles and its constants are those of the map."""
    (tmp_path / "registers.h").write_text(to_c_header(REGISTER_MAP, "NBQ"))
    (tmp_path / "check.c").write_text(
        '#include "registers.h"\n'
        '_Static_assert(NBQ_BASE == 0x0C && NBQ_STAMPS == 0x40 && NBQ_STAMPS_WORDS == 12, "");\n'
        '_Static_assert(NBQ_CONTROL_MODE_SHIFT == 8 && NBQ_CONTROL_MODE_MASK == 0xF00, "");\n'
    )
    check = ["gcc", "-fsyntax-only", "-Wall", "-Werror", "check.c"]
    subprocess.run(check, cwd=tmp_path, check=True, timeout=60)


def test_refused_prefix():
    with pytest.raises(ValueError, match=r"^Prefix must be an upper-case identifier, not 'nbq'$"):
        to_c_header(REGISTER_MAP, "nbq")
