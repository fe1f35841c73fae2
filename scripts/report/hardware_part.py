"""Sections on configurations and areas."""

from collections.abc import Mapping
from dataclasses import asdict

from plotly import graph_objects as go

from hw.contract.config import AcceleratorConfig
from hw.synth.results import SynthResult
from nbqnn_train.pages import LEGEND, Section, html_table
from scripts.report.names import readable

__all__ = ["areas_section", "build_section", "synth_section"]

_RESOURCES = ("lut", "ff", "bram36", "dsp")
_TOP = "nbqnn"
#: Names of modules of the array.
_INSIDE_ARRAY = tuple(
    f"nbqnn_{part}_"
    for part in (
        *("pe_array", "array_section", "svpe", "vpe"),
        *("lane_product", "sum", "accumulation"),
        *("cascade_section", "dsp_cascade", "cascade_sum", "negated_factor", "shift_lines"),
    )
)


def build_section(name: str, config: AcceleratorConfig) -> Section:
    """The fields of a configuration."""
    rows = [{"field": field, "value": value} for field, value in asdict(config).items()]
    rows.append({"field": "multiplies a cycle", "value": config.multiplies_per_cycle})
    return Section("Configuration", [html_table(rows, {"field": "", "value": ""})], name)


def synth_section(name: str, result: SynthResult) -> Section:
    """The share of the board that is used, and the modules that use the LUTs."""
    rows = [
        {
            "resource": resource.upper(),
            "in all": getattr(result, resource),
            "share": result.share[resource] / 100,
            "array": getattr(result.array, resource),
        }
        for resource in _RESOURCES
    ]
    columns = {"resource": "", "in all": ",.10g", "share": ".1%", "array": ",.10g"}
    title = f"Area of a {result.board}, by {result.tool}"
    return Section(title, [html_table(rows, columns), _tables_picture(result)], name)


def areas_section(results: Mapping[str, SynthResult]) -> Section:
    """Several areas side by side, by their names: shares of the board and cells for each lane."""
    figure = go.Figure()
    for name, result in results.items():
        figure.add_bar(
            x=[resource.upper() for resource in _RESOURCES],
            y=[result.share[resource] / 100 for resource in _RESOURCES],
            name=name,
        )
    figure.update_yaxes(tickformat=".0%", title_text="of the board")
    figure.update_layout(title="Shares of the board", height=360, legend=LEGEND)
    rows = [
        {
            "name": name,
            **{resource.upper(): getattr(result, resource) for resource in _RESOURCES},
            "LUT per lane": result.array.lut_per_lane,
            "DSP per lane": result.array.dsp_per_lane,
        }
        for name, result in results.items()
    ]
    counts = dict.fromkeys((resource.upper() for resource in _RESOURCES), ",.10g")
    columns = {"name": "", **counts, "LUT per lane": ".1f", "DSP per lane": ".2f"}
    return Section("Areas side by side", [figure, html_table(rows, columns)])


def _tables_picture(result: SynthResult) -> go.Figure:
    """LUTs of the array, of modules that were mapped separately, and of the rest."""
    parts = {"array": result.array.lut}
    for name, module in (result.modules or {}).items():
        count = module.instances
        if module.lut and name != _TOP and not name.startswith(_INSIDE_ARRAY):
            parts[f"{name} × {count}" if count > 1 else name] = module.lut * count
    rest = result.lut - sum(parts.values())
    if rest < 0:
        # Some modules are inside others. The result does not say which.
        parts = {"array": result.array.lut}
        rest = result.lut - result.array.lut
    parts["rest"] = rest
    names = [readable(name) for name in parts]
    figure = go.Figure(
        go.Treemap(
            labels=names,
            parents=[""] * len(parts),
            values=list(parts.values()),
            text=list(parts),
            texttemplate="%{label}<br>%{value:,} LUT, %{percentRoot:.1%}",
            hovertemplate="%{text}<br>%{value:,} LUT<extra></extra>",
        )
    )
    return figure.update_layout(
        title="Where the LUTs go", height=360, margin={"t": 30, "b": 20, "l": 0, "r": 0}
    )
