"""The C header of the register map, as a C compiler reads it."""

import re
import shutil
import subprocess

import pytest

from hw.contract.register_docs import to_c_header
from hw.contract.register_map import Register
from hw.contract.registers import REGISTERS


def test_every_register_and_field(tmp_path):
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed")
    wanted = {}
    for item in (*REGISTERS.registers, *REGISTERS.arrays):
        name = f"NBQNN_{item.name.upper()}"
        wanted[name] = item.offset
        for field in item.fields if isinstance(item, Register) else ():
            wanted[f"{name}_{field.name.upper()}_SHIFT"] = field.offset
            mask = sum(1 << bit for bit in range(field.offset, field.offset + field.width))
            wanted[f"{name}_{field.name.upper()}_MASK"] = mask
    header = to_c_header(REGISTERS, "NBQNN")
    (tmp_path / "nbqnn_registers.h").write_text(header)
    prints = "".join(f'    printf("{name} %u\\n", {name});\n' for name in wanted)
    # Twice: the second time it must hold nothing.
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "nbqnn_registers.h"\n#include "nbqnn_registers.h"\n'
        f"int main(void) {{\n{prints}    return 0;\n}}\n"
    )
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run([compiler, *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True, timeout=60)
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, timeout=60)
    found = dict(line.split() for line in done.stdout.splitlines())
    assert {name: int(value) for name, value in found.items()} == wanted
    # Nothing is defined that was not asked for here, but for the guard and the windows' sizes.
    defined = set(re.findall(r"^#define (\w+)", header, re.MULTILINE)) - wanted.keys()
    assert defined == {"NBQNN_REGISTERS_H", "NBQNN_LAYER_CYCLES_WORDS"}
