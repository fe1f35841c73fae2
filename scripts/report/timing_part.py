"""Sections on clocks and power: routed, or estimated from a netlist."""

from collections.abc import Callable

from plotly import graph_objects as go

from hw.synth.results import SynthResult
from hw.synth.timing.estimate import TimingEstimate
from nbqnn_train.pages import LEGEND, Section, html_table
from scripts.report.names import board_title, readable, tool_title

__all__ = ["power_section", "timing_section"]


def timing_section(name: str, result: SynthResult) -> Section | None:
    """The clock that is reached or estimated, with the slowest paths; None where nothing says."""
    lines, parts, tool = [], [], tool_title(result.tool)
    if result.fmax_mhz is not None:
        lines.append(f"Routed by {tool}: {result.fmax_mhz:,.1f} MHz{_asked(result)}.")
    if result.setup_slack_ns is not None:
        lines.append(f"Slack: {result.setup_slack_ns:.3f} ns (setup){_hold(result)}.")
    if result.critical_path is not None:
        columns = {"from": "", "to": "", "delay_ns": ".2f", "logic_ns": ".2f", "routing_ns": ".2f"}
        parts.append(html_table([result.critical_path], columns))
    if result.estimated_timing is not None:
        timing = result.estimated_timing
        lines.append(
            f"Estimated for the netlist of {tool}: {timing.mhz:,.0f} MHz, between "
            f"{timing.low_mhz:,.0f} and {timing.high_mhz:,.0f}{_asked(result)}. Nothing was placed "
            "or routed."
        )
        parts += _paths(timing, result.clock_mhz)
    elif result.estimated_mhz is not None:
        lines.append(f"Estimated from its additions: {result.estimated_mhz:,.0f} MHz.")
    if not lines:
        return None
    return Section(
        f"Timing on a {board_title(result.board)}", [f"<p>{' '.join(lines)}</p>", *parts], name
    )


def _asked(result: SynthResult) -> str:
    return "" if result.clock_mhz is None else f"; {result.clock_mhz} MHz are asked for"


def _hold(result: SynthResult) -> str:
    return "" if result.hold_slack_ns is None else f", {result.hold_slack_ns:.3f} ns (hold)"


def _paths(timing: TimingEstimate, clock_mhz: int | None) -> list[go.Figure | str]:
    """The slowest path of each component: in logic and between it, and the asked period."""
    if not timing.paths:
        return []
    rows = [
        {
            "component": readable(path.component),
            "period_ns": path.period_ns,
            "logic_ns": path.logic_ns,
            "levels": path.levels,
            "fanout": path.fanout,
            "from": path.start,
            "to": path.end,
        }
        for path in timing.paths
    ]
    parts: tuple[tuple[str, Callable[[dict], float]], ...] = (
        ("logic", lambda row: row["logic_ns"]),
        ("nets, set-up and clock", lambda row: row["period_ns"] - row["logic_ns"]),
    )
    figure = go.Figure()
    for part, length in parts:
        figure.add_bar(
            y=[f"{number}. {row['component']}" for number, row in enumerate(rows, 1)],
            x=[round(length(row), 3) for row in rows],
            orientation="h",
            name=part,
            hovertemplate="%{y}: %{x:.2f} ns",
        )
    if clock_mhz:
        figure.add_vline(
            x=1e3 / clock_mhz, line_dash="dash", annotation_text=f"{clock_mhz} MHz asked for"
        )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(title_text="ns")
    figure.update_layout(
        title="The slowest path of each component",
        barmode="stack",
        height=190 + 26 * len(rows),
        legend=LEGEND | {"traceorder": "normal"},
    )
    form = {"component": "", "period_ns": ".2f", "logic_ns": ".2f", "levels": "d", "fanout": "d"}
    return [figure, html_table(rows, form | {"from": "", "to": ""})]


def power_section(name: str, result: SynthResult) -> Section | None:
    """What the design takes: by the tool's report, or estimated from counts; None if unknown."""
    title = f"Power on a {board_title(result.board)}"
    if result.power is not None:
        power = result.power
        source = "switching activity of a simulation" if power["activity"] else "no activity"
        text = (
            f"<p>{power['total_w']:.2f} W by {tool_title(result.tool)}, with {source}: "
            f"{power['dynamic_w']:.2f} W while it runs, {power['static_w']:.2f} W at rest.</p>"
        )
        return Section(title, [text], name)
    if result.estimated_power is None:
        return None
    power = result.estimated_power
    text = (
        f"<p>The fabric takes {power.fabric:.2f} W, between {power.low:.2f} and {power.high:.2f}, "
        "estimated from counts of cells; nothing is measured.</p>"
    )
    rows = [{"component": part, "W": watts} for part, watts in power.parts.items()]
    rows += [
        {"component": "fabric at rest", "W": power.static},
        {"component": "processors", "W": power.processors},
        {"component": "chip, about", "W": power.chip},
    ]
    return Section(title, [text, html_table(rows, {"component": "", "W": ".2f"})], name)
