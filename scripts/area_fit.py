"""Fits the coefficients of the area model to configurations that Yosys maps.

``python -m scripts.area_fit [NAME ...]`` maps the samples of those names, or all. It adds them to
the measurements in the file, fits, and prints how far the model is off. A sample takes about a
minute of one core, the largest three. The file is written after each. Modules that were mapped
before are not mapped again.
"""

import json
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from hw.boards.presets import PRESETS
from hw.contract.config import AcceleratorConfig
from hw.contract.files import write_text
from hw.rtl.accelerator import TOP
from hw.rtl.generate import accelerator_verilog
from hw.synth.area import Area, ModuleAreas
from hw.synth.area_model import FIT_FILE, counted_area, fitted_terms
from hw.synth.build import family_verilog
from hw.synth.mapping import map_design
from hw.synth.yosys import shared_modules

__all__ = ["SAMPLES", "fit", "main", "measured_area"]

_DIGITS = PRESETS["digits"]
#: Without tables, products and several taps, whose area is counted and not fitted.
_ZCU102 = replace(PRESETS["zcu102-8bit"], tables=False, products=False, depthwise_taps=1)
#: Every term of the model differs among these configurations.
SAMPLES: dict[str, AcceleratorConfig] = {
    "tiny": PRESETS["tiny"],
    "digits": _DIGITS,
    "zcu102": _ZCU102,
    "pixels": replace(_DIGITS, pixels=4, post_lanes=8),
    "filters": replace(_DIGITS, filters=48, pixels=3, act_bits=4, acc_bits=16),
    "lanes": replace(_DIGITS, lanes=32, acc_bits=24, axi_data_width=128),
    "words": replace(_DIGITS, act_bits=16, acc_bits=32, pixels=1),
    "ports": replace(_DIGITS, axi_ports=4, axi_data_width=128, post_lanes=4),
    "positions": replace(_DIGITS, pixels=5, post_lanes=8, post_positions=3),
    "codes": replace(_DIGITS, weight_bits=4, acc_bits=28, param_depth=512),
}
#: Coefficients that are expected from the hardware's description. A few measurements move them
#: little.
_EXPECTED = {
    "lut": {"control": 4000, "pixels": 150, "ports": 500, "beats": 3},
    "ff": {"control": 4000, "pixels": 50, "ports": 500},
}
#: Weight of an expectation, where a measurement has weight 1.
_TRUST = 0.003


def measured_area(config: AcceleratorConfig) -> Area:
    """The accelerator mapped by Yosys."""
    verilog = family_verilog(accelerator_verilog(config), config, "xcup")
    with tempfile.TemporaryDirectory() as folder:
        mapped = map_design(
            verilog,
            TOP,
            "xcup",
            keep=shared_modules(verilog, TOP),
            log=Path(folder) / "log",
        )
    return ModuleAreas(mapped.cells, "xcup").of(TOP)


def fit(samples: list[tuple[AcceleratorConfig, Area]]) -> dict[str, dict[str, float]]:
    """The coefficients with the smallest relative errors. None is below zero."""
    coefficients = {}
    for resource, expected in _EXPECTED.items():
        names, prior = list(expected), np.array(list(expected.values()), float)
        rows, targets = [], []
        for config, area in samples:
            whole = getattr(area, resource)
            terms = fitted_terms(config)[resource]
            rows.append(np.array([terms[name] for name in names]) * prior / whole)
            targets.append((whole - getattr(counted_area(config), resource)) / whole)
        # Coefficients in multiples of the expected ones: each is pulled towards one.
        pull = np.sqrt(_TRUST) * np.eye(len(names))
        matrix = np.vstack([*rows, pull])
        wanted = np.concatenate([targets, np.sqrt(_TRUST) * np.ones(len(names))])
        factors = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
        values = np.maximum(factors, 0) * prior
        coefficients[resource] = {
            name: float(f"{value:.4g}") for name, value in zip(names, values, strict=True)
        }
    return coefficients


def main(arguments: list[str]) -> int:
    if unknown := set(arguments) - set(SAMPLES):
        print(f"samples are {', '.join(SAMPLES)}, not {', '.join(sorted(unknown))}")
        return 2
    kept = json.loads(FIT_FILE.read_text(encoding="utf-8")) if FIT_FILE.is_file() else {}
    known = {entry["name"]: entry for entry in kept.get("samples", ())}
    for name in arguments or SAMPLES:
        print(f"mapping {name}", flush=True)
        area = measured_area(SAMPLES[name])
        known[name] = {"name": name, "config": asdict(SAMPLES[name]), "area": asdict(area)}
        # Written after each sample, because all samples together take long.
        _write([known[name] for name in SAMPLES if name in known])
    return 0


def _write(entries: list[dict]) -> None:
    """Fits, writes the file, and prints how far off the coefficients are."""
    samples = [(AcceleratorConfig(**entry["config"]), Area(**entry["area"])) for entry in entries]
    coefficients = fit(samples)
    content = {"coefficients": coefficients, "samples": entries}
    write_text(FIT_FILE, json.dumps(content, indent=1) + "\n")
    for entry, (config, area) in zip(entries, samples, strict=True):
        errors = []
        for resource, terms in fitted_terms(config).items():
            fitted = sum(coefficients[resource][term] * value for term, value in terms.items())
            estimate = getattr(counted_area(config), resource) + fitted
            errors.append(f"{resource} {100 * (estimate / getattr(area, resource) - 1):+.1f} %")
        print(f"{entry['name']}: {', '.join(errors)}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
