"""Two folders side by side: what is different."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from hw.contract.config import AcceleratorConfig
from hw.model.estimate import ProgramEstimate
from hw.synth.results import SynthResult
from nbqnn_train.graph.results import Evaluation
from nbqnn_train.pages import Section, html_table
from scripts.report.found import Found
from scripts.report.overview import accuracy_of, overview, synthesis_of
from sim.results import SimulationResult

__all__ = ["comparison"]


@dataclass(frozen=True)
class _Side:
    """What is compared of a folder; None where it is not there."""

    evaluation: Evaluation | None
    cycles: SimulationResult | ProgramEstimate | None
    synthesis: SynthResult | None
    config: AcceleratorConfig | None


@dataclass(frozen=True)
class _Figure:
    """A figure: its name, its format, and whether a change is a difference and not a ratio."""

    name: str
    form: str
    of: Callable[[_Side], float | None]
    differs: bool = False


def _area(field: str) -> Callable[[_Side], float | None]:
    return lambda side: getattr(side.synthesis, field, None)


def _cycles(field: str) -> Callable[[_Side], float | None]:
    return lambda side: getattr(side.cycles, field, None)


def _images_a_second(side: _Side) -> float | None:
    if side.cycles is None or not side.cycles.cycles_per_image:
        return None
    return 1e6 * side.cycles.clock_mhz / side.cycles.cycles_per_image


_FIGURES = (
    _Figure("accuracy", ".2%", lambda side: getattr(side.evaluation, "accuracy", None), True),
    _Figure("cycles an image", ",.0f", _cycles("cycles_per_image")),
    _Figure("images a second, clock asked for", ",.0f", _images_a_second),
    _Figure("utilization", ".1%", _cycles("utilization"), True),
    _Figure("LUT", ",d", _area("lut")),
    _Figure("FF", ",d", _area("ff")),
    _Figure("BRAM36", ",.10g", _area("bram36")),
    _Figure("DSP", ",d", _area("dsp")),
    _Figure("MHz, routed", ",.1f", _area("fmax_mhz")),
    _Figure("MHz, estimated", ",.1f", _area("estimated_mhz")),
    _Figure("W of the fabric, estimated", ".2f", _area("estimated_power_w")),
)


_VERDICTS = {True: "exact", False: "not exact", None: "not simulated"}


def comparison(names: tuple[str, str], first: Iterable[Found], second: Iterable[Found]) -> Section:
    """The figures of two folders, then fields and layers that are not the same in both."""
    first, second = list(first), list(second)
    tops = [overview(name, found) for name, found in zip(names, (first, second), strict=True)]
    sides = (_side(first), _side(second))
    rows = [_row("on the RTL", *(_VERDICTS[top.good] for top in tops))]
    for figure in _FIGURES:
        before, after = (figure.of(side) for side in sides)
        if before is None and after is None:
            continue
        shown = ("" if one is None else format(one, figure.form) for one in (before, after))
        rows.append(_row(figure.name, *shown, _change(before, after, figure.differs)))
    bits = [next((c.value for c in top.cards if c.label == "bits"), "") for top in tops]
    rows.append(_row("bits of weights / activations", *bits))
    parts = [_table("figure", names, rows)]
    for what, differences in (
        ("field of the configuration", _fields(*(side.config for side in sides))),
        ("layer, cycles", _layers(*(side.cycles for side in sides))),
    ):
        if differences:
            parts.append(_table(what, names, differences))
    return Section(f"{names[0]} beside {names[1]}", parts)


def _side(found: list[Found]) -> _Side:
    contents = [one.content for one in found if one.content is not None]

    def first(kind: type) -> object | None:
        return next((one for one in contents if isinstance(one, kind)), None)

    simulation = first(SimulationResult)
    ran = simulation if simulation is not None and simulation.layers else None
    return _Side(
        evaluation=accuracy_of(contents),
        cycles=ran or first(ProgramEstimate),
        synthesis=synthesis_of(contents, simulation),
        config=first(AcceleratorConfig),
    )


def _row(name: str, before: str, after: str, change: str = "") -> dict[str, str]:
    return {"name": name, "before": before, "after": after, "change": change}


def _table(what: str, names: tuple[str, str], rows: list[dict[str, str]]) -> str:
    columns = dict.fromkeys(("name", "before", "after", "change"), "")
    return html_table(rows, columns, (what, *names, "change"))


def _change(before: float | None, after: float | None, differs: bool) -> str:
    """From the first folder to the second one; empty where there is none."""
    if before is None or after is None or before == after:
        return ""
    if differs:
        return f"{100 * (after - before):+.2f} points"
    return f"{after / before - 1:+.1%}" if before else "new"


def _fields(first: AcceleratorConfig | None, second: AcceleratorConfig | None) -> list[dict]:
    if first is None or second is None:
        return []
    one, other = asdict(first), asdict(second)
    return [
        _row(name, str(value), str(other[name]))
        for name, value in one.items()
        if value != other[name]
    ]


def _layers(
    first: SimulationResult | ProgramEstimate | None,
    second: SimulationResult | ProgramEstimate | None,
) -> list[dict]:
    """Layers of the same name with other cycles; none where the networks have no layer in common,
    or where one has cycles of the RTL and the other those of the model."""
    if first is None or type(first) is not type(second):
        return []
    cycles = [{layer.name: layer.cycles for layer in one.layers} for one in (first, second)]
    return [
        _row(
            name, f"{taken:,.0f}", f"{cycles[1][name]:,.0f}", _change(taken, cycles[1][name], False)
        )
        for name, taken in cycles[0].items()
        if name in cycles[1] and taken != cycles[1][name]
    ]
