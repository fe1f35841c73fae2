"""Sections on configurations and areas."""

from collections.abc import Mapping
from dataclasses import asdict

from plotly import graph_objects as go

from hw.contract.config import AcceleratorConfig
from hw.synth.results import SynthResult
from nbqnn_train.pages import LEGEND, Section, html_table
from scripts.report.names import board_title, component, readable, tool_title

__all__ = ["areas_section", "build_section", "synth_section"]

_RESOURCES = ("lut", "ff", "bram36", "dsp")
_TOP = "nbqnn"
#: Components of a comparison.
_SHOWN = 14
#: Names of modules of the array.
_INSIDE_ARRAY = tuple(
    f"nbqnn_{part}_"
    for part in (
        *("pe_array", "array_section", "svpe", "vpe"),
        *("lane_product", "sum", "accumulation"),
        *("cascade_section", "dsp_cascade", "cascade_sum", "negated_factor", "shift_lines"),
        *("quad_section", "dsp_quad", "quad_factor", "wait"),
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
    title = f"Area of a {board_title(result.board)}, by {tool_title(result.tool)}"
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
    contents = [figure, html_table(rows, columns)]
    if all(map(_has_components, results.values())):
        contents.insert(1, _components_bars(results))
    return Section("Areas side by side", contents)


def _has_components(result: SynthResult) -> bool:
    """Whether its components add up to the whole: Vivado's are those of the core alone."""
    return result.tool == "yosys" and bool(result.components)


def _components_bars(results: Mapping[str, SynthResult]) -> go.Figure:
    """LUTs of the components that take most, in all results."""
    most: dict[str, int] = {}
    for result in results.values():
        for path, area in result.components.items():
            most[path] = max(area.lut, most.get(path, 0))
    paths = sorted(most, key=most.__getitem__)[-_SHOWN:]
    figure = go.Figure()
    for name, result in results.items():
        figure.add_bar(
            y=[component(path) for path in paths],
            x=[result.components[path].lut if path in result.components else 0 for path in paths],
            customdata=paths,
            hovertemplate="%{customdata}: %{x:,} LUT",
            orientation="h",
            name=name,
        )
    figure.update_xaxes(title_text="LUT")
    figure.update_yaxes(automargin=True)
    height = 120 + 28 * len(paths)
    return figure.update_layout(title="LUTs by component", height=height, legend=LEGEND)


def _components_picture(result: SynthResult) -> go.Figure:
    """LUTs of all components, those inside another one within it."""
    own = {path: area.lut for path, area in result.components.items()}
    inside: dict[str, int] = {}
    for path, lut in own.items():
        for above in {"", *(path[:end] for end in _ends(path))}:
            inside[above] = inside.get(above, 0) + lut
    shown = sorted(path for path, lut in inside.items() if lut)
    figure = go.Figure(
        go.Treemap(
            ids=[path or "accelerator" for path in shown],
            labels=[component(path) for path in shown],
            parents=[
                "" if path == "" else path.rpartition(".")[0] or "accelerator" for path in shown
            ],
            values=[inside[path] for path in shown],
            branchvalues="total",
            texttemplate="%{label}<br>%{value:,} LUT, %{percentRoot:.1%}",
            hovertemplate="%{id}<br>%{value:,} LUT<extra></extra>",
        )
    )
    return figure.update_layout(
        title="Where the LUTs go", height=460, margin={"t": 30, "b": 20, "l": 0, "r": 0}
    )


def _ends(path: str) -> list[int]:
    """Where the names in a path end."""
    return [at for at, letter in enumerate(f"{path}.") if letter == "."]


def _tables_picture(result: SynthResult) -> go.Figure:
    """LUTs of the components; without them of the array, of modules that were mapped separately,
    and of the rest."""
    if _has_components(result):
        return _components_picture(result)
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
