"""``nbqnn search``: sensitivities, networks with mixed widths, a journal with which it goes on."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path

import tomli_w
import torch
from torch import Tensor

from nbqnn_train.convert import QuantConfig
from nbqnn_train.export import export_graph
from nbqnn_train.graph import save
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.files import write_text
from nbqnn_train.inputs.meaning import meaning_file, write_meaning
from nbqnn_train.learn.accuracy import count_correct_graph
from nbqnn_train.learn.sources import model_source
from nbqnn_train.pages import page
from nbqnn_train.quantize import quantize
from nbqnn_train.width_search import (
    LayerSensitivity,
    Mix,
    best_mixes,
    check_bit_widths,
    sensitivities,
)
from scripts.lines import append_line, read_lines
from scripts.quantizing import Task, Trained, agreement
from scripts.search_pictures import search_sections
from scripts.search_result import LayerRow, SearchPoint, SearchResult

__all__ = ["PICTURES", "Budget", "read_widths", "search_widths"]

PICTURES = "search.html"
#: File with which a stopped search goes on.
_JOURNAL = "search.jsonl"
_BATCH = 64
#: A search for an agreement ends when two mixes differ by less than this share of the bits.
_NEAR = 0.01


@dataclass(frozen=True)
class Budget:
    """What is wanted: at most so many bytes of weights, at least such an agreement (0...1), or
    just ``points`` mixes of sizes between the uniform ones."""

    points: int
    most_bytes: int | None = None
    least_agreement: float | None = None


def read_widths(text: str) -> tuple[int, ...]:
    """Widths such as "2,3,4", in rising order."""
    try:
        given = [int(part) for part in text.split(",")]
    except ValueError:
        raise NbqnnError(f"Widths must be numbers with commas between, not {text!r}") from None
    return check_bit_widths(given)


def search_widths(
    task: Task,
    out: Path,
    config: QuantConfig,
    widths: tuple[int, ...],
    budget: Budget,
    *,
    images: int,
    seed: int,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> SearchResult:
    """Searches and writes graphs, options for training and pictures to the folder ``out``.

    The inputs are twice ``images``, if there are so many: half to quantize with, half to compare
    with full precision. What an earlier search found there for the same network, inputs and options
    is not done again.

    Raises :exc:`NbqnnError` for bad input, and for a budget that cannot be met, with by how much.
    """
    trained = task.read(2 * images, seed)
    options = {
        "model": task.model,
        "source": asdict(source) if (source := model_source(task.model)) else None,
        "weights": _digest(trained.network.state_dict().values()),
        "inputs": _digest([torch.from_numpy(trained.x)]),
        "widths": list(widths),
        "act_bits": config.act_bits,
        "images": images,
        "seed": seed,
        "requant_mode": config.requant_mode,
    }
    journal = _Journal(out, options)
    search = _Search(trained, out, config, images, seed, journal, progress)
    mixes = best_mixes(search.layers(widths))
    if not mixes[0].widths:
        raise NbqnnError(
            f"Network must have layers with modules of their own, but {task.model!r} has none"
        )
    _check_bytes(mixes, budget)
    for bits in widths:
        search.point(f"uniform-{bits}", _uniform(search.layers(widths), bits))
    best = None
    if budget.most_bytes is not None:
        best = search.point(*_named([m for m in mixes if _bytes(m) <= budget.most_bytes][-1]))
    elif budget.least_agreement is not None:
        best = search.smallest(mixes, budget.least_agreement)
    else:
        for mix in _spread(mixes, budget.points):
            search.point(*_named(mix))
    result = SearchResult(
        layers=tuple(_row(layer) for layer in search.layers(widths)),
        points=tuple(sorted(journal.points.values(), key=lambda one: one.weight_bytes)),
        images=search.compared,
        best=None if best is None else best.name,
    )
    note = f"Weights of {', '.join(map(str, widths))} bits, chosen for each layer without labels."
    write_text(out / PICTURES, page(f"Widths for {task.model}", search_sections(result), note))
    return result


class _Journal:
    """What was found, in the folder ``out``: a line with the options, one with the layers, and one
    for each point."""

    def __init__(self, out: Path, options: dict):
        self.path = out / _JOURNAL
        self.options = options
        self.layers: list[LayerSensitivity] = []
        self.points: dict[str, SearchPoint] = {}
        if out.exists() and not out.is_dir():
            raise NbqnnError(f"--out must be a folder, not the file {str(out)!r}")
        try:
            lines = read_lines(self.path)
            for line in lines[1:]:
                if "layers" in line:
                    self.layers = [_layer(LayerRow(**row)) for row in line["layers"]]
                else:
                    self.points[line["name"]] = SearchPoint(**line)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise NbqnnError(
                f"{str(self.path)!r} must be of a search, but cannot be read ({error}); remove it"
            ) from None
        self.begun = bool(lines)
        if lines and lines[0] != options:
            differing = [name for name in options if lines[0].get(name) != options[name]]
            raise NbqnnError(
                f"Search in {str(out)!r} was begun with other options "
                f"({', '.join(differing)}); give the same, or another --out"
            )

    def add_layers(self, layers: list[LayerSensitivity]) -> None:
        """Adds the sensitivities."""
        self.layers = layers
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.begun:
            append_line(self.path, self.options)
        append_line(self.path, {"layers": [asdict(_row(layer)) for layer in layers]})

    def add_point(self, point: SearchPoint) -> None:
        """Adds a network."""
        self.points[point.name] = point
        append_line(self.path, asdict(point))


@dataclass
class _Search:
    """A network and the folder in which everything about it lies."""

    trained: Trained
    out: Path
    config: QuantConfig
    images: int
    seed: int
    journal: _Journal
    progress: Callable[[int, int, str], None]

    def __post_init__(self):
        x = self.trained.x
        self.seen = _batches(x[: self.images])
        # Fewer inputs than asked for are used for both.
        self.unseen = _batches(x[self.images :] if len(x) > self.images else x)
        self.compared = sum(len(batch) for batch in self.unseen)

    def layers(self, widths: tuple[int, ...]) -> list[LayerSensitivity]:
        """The sensitivities, computed once."""
        if not self.journal.layers:
            found = sensitivities(
                self.trained.network,
                self.seen,
                self.config,
                widths,
                images=self.images,
                seed=self.seed,
                progress=lambda done, total, _: self.progress(done, total, "sensitivities"),
            )
            self.journal.add_layers(found)
        return self.journal.layers

    def point(self, name: str, mix: Mix) -> SearchPoint:
        """The network with these widths, made once."""
        if name not in self.journal.points:
            config = replace(
                self.config, weight_bits=max(mix.widths.values()), overrides=mix.overrides
            )
            network = quantize(
                self.trained.network,
                self.seen,
                config,
                images=self.images,
                seed=self.seed,
                progress=lambda done, total, _: self.progress(done, total, name),
            )
            graph = export_graph(network, tuple(self.trained.x.shape[1:]))
            agreed = agreement(self.trained.network, graph, self.unseen)
            if agreed is None:
                raise NbqnnError(
                    "Network must have classes as outputs, (N, classes), to be compared"
                )
            test = None if self.trained.sets is None else self.trained.sets.test
            accuracy = None if test is None else count_correct_graph(graph, test) / len(test)
            save(graph, self.out / name)
            write_meaning(meaning_file(self.out / name), self.trained.meaning(), graph)
            write_text(self.out / f"{name}.toml", _training_options(config, mix))
            self.journal.add_point(
                SearchPoint(
                    name=name,
                    widths=mix.widths,
                    weight_bytes=_bytes(mix),
                    distance=mix.distance,
                    agreement=agreed,
                    accuracy=accuracy,
                )
            )
        return self.journal.points[name]

    def smallest(self, mixes: list[Mix], least: float) -> SearchPoint:
        """The smallest mix with that agreement, by halving; more bits are taken to agree more."""
        low, high = 0, len(mixes) - 1
        best = self.point(*_named(mixes[high]))
        if best.agreement < least:
            raise NbqnnError(
                f"Agreement must be at most {best.agreement:.2%}, which the widest weights reach, "
                f"not {least:.2%}: {least - best.agreement:.2%} too much; allow wider --widths"
            )
        while mixes[high].weight_bits - mixes[low].weight_bits > _NEAR * mixes[high].weight_bits:
            middle = (low + high) // 2
            if middle in (low, high):
                break
            point = self.point(*_named(mixes[middle]))
            if point.agreement >= least:
                best, high = point, middle
            else:
                low = middle
        return best


def _digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of their values."""
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.detach().cpu().numpy().tobytes())
    return sha.hexdigest()


def _batches(x) -> list[Tensor]:
    return [torch.from_numpy(x[at : at + _BATCH]) for at in range(0, len(x), _BATCH)]


def _bytes(mix: Mix) -> int:
    return ceil(mix.weight_bits / 8)


def _named(mix: Mix) -> tuple[str, Mix]:
    """A mix has one name, whatever it was chosen for. Uniform ones are called so."""
    used = set(mix.widths.values())
    return (f"uniform-{used.pop()}" if len(used) == 1 else f"mixed-{_bytes(mix)}"), mix


def _uniform(layers: list[LayerSensitivity], bits: int) -> Mix:
    return Mix(
        {layer.path: bits for layer in layers},
        sum(layer.weights * bits for layer in layers),
        sum(layer.distances[bits] for layer in layers),
    )


def _spread(mixes: list[Mix], count: int) -> list[Mix]:
    """Mixes of sizes that are evenly spread between the smallest and the largest."""
    low, high = mixes[0].weight_bits, mixes[-1].weight_bits
    wanted = [low + (high - low) * step // (count + 1) for step in range(1, count + 1)]
    return [[mix for mix in mixes if mix.weight_bits <= bits][-1] for bits in wanted]


def _check_bytes(mixes: list[Mix], budget: Budget) -> None:
    least = _bytes(mixes[0])
    if budget.most_bytes is not None and budget.most_bytes < least:
        raise NbqnnError(
            f"Weights must have at least {least} bytes with these widths, "
            f"{least - budget.most_bytes} more than --max-bytes {budget.most_bytes}"
        )


def _training_options(config: QuantConfig, mix: Mix) -> str:
    train = {"bits": config.weight_bits, "act_bits": config.act_bits, "overrides": mix.overrides}
    return tomli_w.dumps({"train": train | {"requant_mode": config.requant_mode}})


def _row(layer: LayerSensitivity) -> LayerRow:
    distances = {str(bits): far for bits, far in layer.distances.items()}
    return LayerRow(path=layer.path, weights=layer.weights, distances=distances)


def _layer(row: LayerRow) -> LayerSensitivity:
    distances = {int(bits): float(far) for bits, far in row.distances.items()}
    return LayerSensitivity(row.path, row.weights, distances)
