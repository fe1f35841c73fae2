"""``nbqnn search``: sensitivities, networks with mixed widths, a journal with which it goes on."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w
import torch

from hw.tools.work import HereWork, Work
from nbqnn_train.convert import QuantConfig
from nbqnn_train.graph import save
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.files import write_text
from nbqnn_train.inputs.meaning import meaning_file, write_meaning
from nbqnn_train.learn.sources import model_source
from nbqnn_train.pages import page
from nbqnn_train.width_search import (
    LayerSensitivity,
    Mix,
    best_mixes,
    check_bit_widths,
)
from scripts.lines import append_line, read_lines
from scripts.quantizing import Task, Trained
from scripts.search_pictures import search_sections
from scripts.search_pieces import (
    Found,
    Searched,
    Widths,
    compared_images,
    digest,
    search_piece,
)
from scripts.search_result import LayerRow, SearchPoint, SearchResult

if TYPE_CHECKING:
    from hw.tools.cluster import Cluster

__all__ = ["PICTURES", "Budget", "read_widths", "search_widths"]

PICTURES = "search.html"
#: File with which a stopped search goes on.
_JOURNAL = "search.jsonl"
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
    cluster: "Cluster | None" = None,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> SearchResult:
    """Searches and writes graphs, options for training and pictures to the folder ``out``.

    The inputs are twice ``images``, if there are so many: half to quantize with, half to compare
    with full precision. What an earlier search found there for the same network, inputs and options
    is not done again. Without a cluster all threads of this process compute; on one each network is
    a piece, computed with one thread.

    Raises :exc:`NbqnnError` for bad input, and for a budget that cannot be met, with by how much.
    """
    trained = task.read(2 * images, seed)
    shared = Searched(
        task=task,
        config=config,
        widths=widths,
        images=images,
        seed=seed,
        weights=digest(trained.network.state_dict().values()),
        inputs=digest([torch.from_numpy(trained.x)]),
        trained=trained,
        progress=progress,
    )
    options = {
        "model": task.model,
        "source": asdict(source) if (source := model_source(task.model)) else None,
        "weights": shared.weights,
        "inputs": shared.inputs,
        "widths": list(widths),
        "act_bits": config.act_bits,
        "images": images,
        "seed": seed,
        "requant_mode": config.requant_mode,
    }
    options |= _ends(config)
    journal = _Journal(out, options)
    work: Work = HereWork(search_piece, shared)
    if cluster is not None:
        shared = shared.elsewhere()
        work = cluster.work(search_piece, shared)
    with work:
        best = _Search(trained, out, journal, shared, work, progress).run(budget)
    result = SearchResult(
        layers=tuple(_row(layer) for layer in journal.layers),
        points=tuple(sorted(journal.points.values(), key=lambda one: one.weight_bytes)),
        images=compared_images(trained, images),
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
            names = dict.fromkeys([*options, *lines[0]])
            differing = [name for name in names if lines[0].get(name) != options.get(name)]
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
    journal: _Journal
    shared: Searched
    work: Work
    progress: Callable[[int, int, str], None]

    def run(self, budget: Budget) -> SearchPoint | None:
        """Makes all networks; returns the one within the budget, if there is one."""
        layers = self.layers()
        # A name says the bytes. Of mixes with as many bytes the last one is the nearest.
        mixes = list({_bytes(mix): mix for mix in best_mixes(layers)}.values())
        if not mixes[0].widths:
            raise NbqnnError(
                "Network must have layers with modules of their own, but "
                f"{self.shared.task.model!r} has none"
            )
        _check_bytes(mixes, budget)
        wanted = [_uniform(layers, bits) for bits in self.shared.widths]
        if budget.most_bytes is not None:
            best = [mix for mix in mixes if _bytes(mix) <= budget.most_bytes][-1]
            self.points([*wanted, best])
            return self.point(best)
        if budget.least_agreement is not None:
            self.points(wanted)
            return self.smallest(mixes, budget.least_agreement)
        self.points([*wanted, *_spread(mixes, budget.points)])
        return None

    def layers(self) -> list[LayerSensitivity]:
        """The sensitivities, computed once."""
        if not self.journal.layers:
            (found,) = self.work.results([None])
            self.journal.add_layers(found)
        return self.journal.layers

    def points(self, mixes: Iterable[Mix]) -> None:
        """Makes the networks with these widths, each once."""
        left = {_name(mix): mix for mix in mixes if _name(mix) not in self.journal.points}
        pieces = [Widths(name, max(m.widths.values()), m.overrides) for name, m in left.items()]
        for done, (number, found) in enumerate(self.work.as_they_come(pieces), 1):
            self._keep(pieces[number], list(left.values())[number], found)
            if self.shared.trained is None:
                self.progress(done, len(pieces), "networks")

    def point(self, mix: Mix) -> SearchPoint:
        """The network with these widths, made once."""
        self.points([mix])
        return self.journal.points[_name(mix)]

    def _keep(self, piece: Widths, mix: Mix, found: Found) -> None:
        save(found.graph, self.out / piece.name)
        write_meaning(meaning_file(self.out / piece.name), self.trained.meaning(), found.graph)
        config = replace(self.shared.config, weight_bits=piece.weight_bits)
        write_text(self.out / f"{piece.name}.toml", _training_options(config, mix))
        self.journal.add_point(
            SearchPoint(
                name=piece.name,
                widths=mix.widths,
                weight_bytes=_bytes(mix),
                distance=mix.distance,
                agreement=found.agreement,
                accuracy=found.accuracy,
            )
        )

    def smallest(self, mixes: list[Mix], least: float) -> SearchPoint:
        """The smallest mix with that agreement, by halving; more bits are taken to agree more."""
        low, high = 0, len(mixes) - 1
        best = self.point(mixes[high])
        if best.agreement < least:
            raise NbqnnError(
                f"Agreement must be at most {best.agreement:.2%}, which the widest weights reach, "
                f"not {least:.2%}: {least - best.agreement:.2%} too much; allow wider --widths"
            )
        while mixes[high].weight_bits - mixes[low].weight_bits > _NEAR * mixes[high].weight_bits:
            middle = (low + high) // 2
            if middle in (low, high):
                break
            point = self.point(mixes[middle])
            if point.agreement >= least:
                best, high = point, middle
            else:
                low = middle
        return best


def _bytes(mix: Mix) -> int:
    return ceil(mix.weight_bits / 8)


def _name(mix: Mix) -> str:
    """A mix has one name, whatever it was chosen for. Uniform ones are called so."""
    used = set(mix.widths.values())
    return f"uniform-{used.pop()}" if len(used) == 1 else f"mixed-{_bytes(mix)}"


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


def _ends(config: QuantConfig) -> dict[str, int]:
    """Bits of inputs and outputs, as far as they were given."""
    bits = {"input_bits": config.input_bits, "output_bits": config.output_bits}
    return {name: given for name, given in bits.items() if given is not None}


def _training_options(config: QuantConfig, mix: Mix) -> str:
    train = {"bits": config.weight_bits, "act_bits": config.act_bits, "overrides": mix.overrides}
    train |= _ends(config)
    return tomli_w.dumps({"train": train | {"requant_mode": config.requant_mode}})


def _row(layer: LayerSensitivity) -> LayerRow:
    distances = {str(bits): far for bits, far in layer.distances.items()}
    return LayerRow(path=layer.path, weights=layer.weights, distances=distances)


def _layer(row: LayerRow) -> LayerSensitivity:
    distances = {int(bits): float(far) for bits, far in row.distances.items()}
    return LayerSensitivity(row.path, row.weights, distances)
