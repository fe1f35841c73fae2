"""What of the RTL the runs reach: a report, at least 95 % of the lines, reasons for the rest."""

import re
from functools import reduce
from operator import add
from pathlib import Path

import pytest

from hw.compiler import compile_graph
from hw.contract.memory_timing import MemoryTiming
from hw.contract.registers import REGISTERS
from hw.rtl.generate import accelerator_verilog
from sim.coverage import Coverage
from tests.hw.accelerators import VERILATED
from tests.hw.faults import KINDS, FaultBench
from tests.hw.networks import images, small_network, traced_codes
from tests.hw.runs import Model, compare, offset, verilated
from tests.hw.test_faults import CONFIGS
from tests.nightly import NIGHTLY

#: Not kept with the sources.
REPORT = Path(__file__).parents[2] / "build" / "rtl-coverage.md"
#: Of each kind.
INJECTIONS = 12
#: Module, text of a line, and why no run of the accelerator reaches it.
EXPLAINED = [
    (
        r"nbqnn_(un)?packer_\w+",
        r"if \(clear\).*|_\d+_ = \d+'h0+;.*",
        "never cleared: the core is reset as a whole",
    ),
    (
        r"nbqnn_packer_\w+_n1",
        r".*gathered.*|_\d+_ = i__payload;|casez \(count\)|1'h0:|end else begin|_\d+_ = _\d+_.*",
        "for beats before the last of a word, which has one",
    ),
]


def run_everything(model):
    """Faults; every kind of layer, several images, with stalls; all registers written and read."""
    bench = FaultBench(model, seed=1)
    for kind in KINDS:
        for _ in range(INJECTIONS):
            bench.inject(kind)
    config = model.config
    graph = small_network(
        act_bits=config.act_bits, weight_bits=config.weight_bits, scale=config.requant == "scale"
    )
    x = images(graph, 3)
    for traced in (False, True):
        program = compile_graph(graph, config, traced=traced)
        driver, _ = model.driver(program, timing=MemoryTiming(stall_rate=0.3, seed=7))
        for image, expected in zip(x, traced_codes(graph, x), strict=True):
            compare(driver, image, expected)
    for register in REGISTERS.registers:
        model.accelerator.read(register.offset)
        if register.access.value == "rw":
            for value in (0, 0xFFFFFFFF):
                model.accelerator.write(register.offset, value)
    model.accelerator.write(offset("irq_status"), 3)
    # Addresses without a register, and ones that are not for writing.
    for access in (lambda: model.accelerator.read(0xFFC), lambda: model.accelerator.write(0, 1)):
        with pytest.raises(Exception, match="SLVERR"):
            access()


def measured(config, folder):
    """The coverage of a model of the configuration."""
    verilog = accelerator_verilog(config)
    accelerator = verilated(config, verilog, coverage=True)
    with accelerator:
        run_everything(Model(config, accelerator))
        path = folder / f"{config.name}.dat"
        accelerator.write_coverage(path)
    return Coverage.read(path, verilog)


def explanation(module, line):
    line = re.sub(r" #\d+$", "", line)
    for modules, lines, reason in EXPLAINED:
        if re.fullmatch(modules, module) and re.fullmatch(lines, line):
            return reason
    return None


@pytest.mark.skipif(not NIGHTLY, reason="for the nightly run: minutes")
@pytest.mark.timeout(1800)
def test_coverage(tmp_path):
    configs = [CONFIGS["tiny_2x32"]]
    configs += [VERILATED[name] for name in ("shift_64", "scale_32", "multiply_256")]
    total = reduce(add, (measured(config, tmp_path) for config in configs))
    missed = [(module, line, explanation(module, line)) for module, line in total.missed]
    rows = [f"| {module} | `{line}` | {reason or ''} |" for module, line, reason in missed]
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(
        "\n".join(
            [
                "# What of the RTL the runs reach",
                "",
                total.table(),
                "Lines that no run reaches:",
                "",
                "| module | line | why |",
                "|---|---|---|",
                *rows,
                "",
            ]
        )
    )
    assert total.line_share >= 0.95, f"{100 * total.line_share:.1f} %, see {REPORT}"
