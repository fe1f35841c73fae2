"""The top of a report: which network, how accurate, fast and large, exact or not."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from hw.contract.config import AcceleratorConfig
from hw.model.estimate import ProgramEstimate
from hw.synth.results import SynthResult
from nbqnn_train.graph import Conv2d, Graph, Linear, Requantize
from nbqnn_train.graph.results import Evaluation
from nbqnn_train.learn.results import TrainingResult
from scripts.quantize_result import QuantizeResult
from scripts.report.found import Found
from scripts.report.names import board_title, tool_title
from scripts.report.origins import origin_of_result
from sim.results import CircuitSimulationResult, SimulationResult

__all__ = ["Card", "Overview", "accuracy_of", "overview", "synthesis_of"]

_RESOURCES = {"lut": "LUT", "bram36": "BRAM", "dsp": "DSP"}


@dataclass(frozen=True)
class Card:
    """One figure: its name, its value, and its origin."""

    label: str
    value: str
    source: str


@dataclass(frozen=True)
class Overview:
    """The top of a report.

    verdict : one sentence; ``good`` is True for exact, False for not exact, None if unknown.
    """

    name: str
    verdict: str
    good: bool | None
    cards: tuple[Card, ...]

    def html(self) -> str:
        """The verdict and the figures."""
        shade = {True: " good", False: " bad", None: ""}[self.good]
        cards = "".join(
            f'<div class="card{" several" if ", " in card.value else ""}">'
            f"<span>{escape(card.label)}</span><b>{escape(card.value)}</b>"
            f"<span>{escape(card.source)}</span></div>"
            for card in self.cards
        )
        return (
            f'<p class="verdict{shade}">{escape(self.verdict)}</p><div class="cards">{cards}</div>'
        )


def overview(name: str, found: Iterable[Found]) -> Overview:
    """The overview of everything in a folder; ``name`` is used if there is no training run in it.

    Of several results of a kind the first counts; of areas, the first one of the RTL that was
    simulated.
    """
    contents = [one.content for one in found if one.content is not None]

    def first(kind: type) -> object | None:
        return next((one for one in contents if isinstance(one, kind)), None)

    trained = [one for one in contents if isinstance(one, TrainingResult)]
    twin = next((one for one in trained if one.full_precision), None)
    training = next((one for one in trained if one is not twin), twin)
    simulation, program = first(SimulationResult), first(ProgramEstimate)
    circuit = first(CircuitSimulationResult)
    synthesis, graph = synthesis_of(contents, simulation), first(Graph)
    config = first(AcceleratorConfig)
    if training is not None:
        name = f"Network {training.model}, trained on {training.data}"
    verdict, good = _verdict(simulation or circuit)
    cards = [
        _accuracy(contents, twin),
        *(_speed(simulation, program, synthesis) or _circuit_speed(circuit)),
        _area(synthesis),
        _bits(graph, config),
    ]
    return Overview(name, verdict, good, tuple(card for card in cards if card is not None))


def synthesis_of(
    contents: Iterable[object], simulation: SimulationResult | None
) -> SynthResult | None:
    """The area that belongs to a simulation: the first one of its RTL, or else the first one."""
    areas = [one for one in contents if isinstance(one, SynthResult)]
    same = [
        one
        for one in areas
        if simulation is not None
        and (origin := origin_of_result(one)) is not None
        and (simulated := origin_of_result(simulation)) is not None
        and origin.rtl == simulated.rtl
    ]
    return next(iter(same or areas), None)


def _verdict(
    simulation: SimulationResult | CircuitSimulationResult | None,
) -> tuple[str, bool | None]:
    if simulation is None:
        return "Not simulated: whether the RTL computes what was trained is not shown here.", None
    images = f"{simulation.images:,} image{'s' if simulation.images != 1 else ''}"
    if getattr(simulation, "error", None) is not None:
        return f"A run on the RTL failed: {simulation.error}", False
    if simulation.mismatches:
        return f"Not exact: {simulation.mismatches:,} of {images} differ on the RTL.", False
    return f"Exact: {images} on the RTL, every code is the interpreter's.", True


def accuracy_of(contents: Iterable[object]) -> Evaluation | None:
    """The first accuracy of a quantized network; without one, the first accuracy."""
    contents = list(contents)
    found = [one for one in contents if isinstance(one, Evaluation)]
    quantized = [one for one in found if not getattr(one, "full_precision", None)]
    quantized += [
        Evaluation(accuracy=one.accuracy, images=one.test_images)
        for one in contents
        if isinstance(one, QuantizeResult) and one.accuracy is not None
    ]
    return next(iter(quantized or found), None)


def _accuracy(contents: list[object], twin: TrainingResult | None) -> Card | None:
    """The accuracy, beside that in full precision: of a twin, or of the weights before."""
    evaluation = accuracy_of(contents)
    if evaluation is None:
        return None
    source = f"of {evaluation.images:,} images"
    if twin is evaluation:
        return Card("accuracy", f"{evaluation.accuracy:.2%}", f"{source}, in full precision")
    before = [twin.accuracy] if twin is not None else []
    before += [one for content in contents if (one := getattr(content, "float_accuracy", None))]
    if before:
        source += f"; {before[0]:.2%} in full precision"
    return Card("accuracy", f"{evaluation.accuracy:.2%}", source)


def _speed(
    simulation: SimulationResult | None,
    program: ProgramEstimate | None,
    synthesis: SynthResult | None,
) -> list[Card]:
    """Images per second and latency, at the routed clock if there is one."""
    if simulation is not None and simulation.cycles_per_image:
        result, source = simulation, "cycles of the RTL"
    elif program is not None:
        result, source = program, "cycles of the model"
    else:
        return []
    clock, kind = float(result.clock_mhz), "asked for"
    if synthesis is not None and synthesis.fmax_mhz is not None:
        clock, kind = min(clock, synthesis.fmax_mhz), f"routed by {tool_title(synthesis.tool)}"
    elif synthesis is not None and synthesis.estimated_mhz is not None:
        kind += f" ({synthesis.estimated_mhz:,.0f} estimated)"
    cycles = result.cycles_per_image
    text = f"{source}, {clock:g} MHz {kind}"
    cards = [Card("images a second", f"{1e6 * clock / cycles:,.0f}", text)]
    if result.batch == 1:
        cards.append(Card("latency", _time(cycles / clock), f"{cycles:,.0f} {source}"))
    return cards


def _circuit_speed(circuit: CircuitSimulationResult | None) -> list[Card]:
    if circuit is None:
        return []
    clock, cycles = circuit.clock_mhz, max(circuit.cycles_per_image, 1)
    source = f"cycles of the RTL, {clock} MHz asked for"
    return [
        Card("images a second", f"{1e6 * clock / cycles:,.0f}", source),
        Card("latency", _time(circuit.latency / clock), f"{circuit.latency} {source}"),
    ]


def _time(microseconds: float) -> str:
    if microseconds < 1:
        return f"{1000 * microseconds:.3g} ns"
    if microseconds < 1000:
        return f"{microseconds:.3g} µs"
    return f"{microseconds / 1000:.3g} ms"


def _area(synthesis: SynthResult | None) -> Card | None:
    if synthesis is None:
        return None
    shares = ", ".join(
        f"{synthesis.share[field]:.3g}\u00a0%\u00a0{name}" for field, name in _RESOURCES.items()
    )
    source = f"by {tool_title(synthesis.tool)}, {synthesis.lut:,} LUT"
    return Card(f"of a {board_title(synthesis.board)}", shares, source)


def _bits(graph: Graph | None, config: AcceleratorConfig | None) -> Card | None:
    if graph is not None:
        weights = _range(n.weight_bits for n in graph.nodes if isinstance(n, (Conv2d, Linear)))
        activations = _range(n.bits for n in graph.nodes if isinstance(n, Requantize))
        return Card("bits", f"{weights} / {activations}", "of weights / activations")
    if config is not None:
        return Card("bits", f"{config.weight_bits} / {config.act_bits}", "of weights / activations")
    return None


def _range(bits: Iterable[int]) -> str:
    found = sorted(set(bits))
    if not found:
        return "–"
    return str(found[0]) if len(found) == 1 else f"{found[0]}–{found[-1]}"
