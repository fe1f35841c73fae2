"""``nbqnn predict``: classes of pictures and arrays, by a graph or by simulated hardware."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hw.boards.registry import find_memory
from hw.contract.program import Program, load_program
from hw.model.estimate import estimate_program
from nbqnn_train.graph import (
    ArgMax,
    Graph,
    NbqnnError,
    load,
    quantize_input,
    run,
    tensor_types,
)
from nbqnn_train.graph.shapes import same_order
from nbqnn_train.inputs.meaning import Meaning, meaning_file, read_meaning
from nbqnn_train.inputs.preparation import Preparation
from scripts.images import read_images
from scripts.prediction_result import ImageClasses, PredictedClass, PredictionResult

if TYPE_CHECKING:  # a graph needs no hardware description
    from hw.spatial.build import SpatialBuild

__all__ = ["Given", "class_scores", "network_ends", "predict"]

_BATCH = 32
_MEMORY = "zcu102"
#: First bytes of a graph file. A program begins otherwise.
_GRAPH_MAGIC = b"\x89NBQNN"
_LARGEST_NAMES = 1 << 24


@dataclass(frozen=True)
class Given:
    """A user's own statements on inputs and outputs. They replace what is kept beside the graph.

    mean, std : of each channel, for pixels in 0 ... 1.
    crop : share of a picture's shorter side that is used.
    classes : text file with a name in each line.
    """

    mean: str | None = None
    std: str | None = None
    crop: float | None = None
    classes: Path | None = None


def predict(
    path: Path,
    files: Sequence[Path],
    top: int,
    given: Given,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PredictionResult:
    """The ``top`` classes of all images in ``files``.

    ``path`` is a graph, computed by the interpreter; or a program, which runs on the Verilated
    accelerator; or the build of a circuit, which is Verilated, too. Both are compared with the
    interpreter. Files are pictures, or ``.npy`` arrays of float32 inputs, with or without the axis
    of images.
    """
    program = circuit = None
    known = path
    if path.is_dir():
        # Imported here: a graph needs no hardware description and no simulator.
        from hw.spatial.build import GRAPH, read_spatial

        circuit, graph = read_spatial(path)
        known = path / GRAPH
    elif _is_graph(path):
        graph = load(path)
    else:
        program = load_program(path)
        graph = program.graph
    shape, outputs, exponent = network_ends(graph)
    meaning = read_meaning(meaning_file(known), graph)
    names = _names(given.classes, outputs) or meaning.classes
    if names is not None and len(names) != outputs:
        raise NbqnnError(f"Classes must be {outputs}, as the network's outputs, not {len(names)}")
    _check_pictures(files, given)
    labels, x = _inputs(files, shape, _preparation(path, meaning, given, shape))
    if program is not None:
        codes, found = _on_accelerator(program, x, progress)
    elif circuit is not None:
        codes, found = _in_circuit(path, circuit, graph, x)
    else:
        codes, found = _interpreted(graph, x), {"by": "interpreter"}
    values = codes.astype(np.float64) * 2.0**exponent
    scores, kind = class_scores(graph, values)
    return PredictionResult(
        score=kind,
        predictions=tuple(
            ImageClasses(image=label, classes=_best(value, score, top, names))
            for label, value, score in zip(labels, values, scores, strict=False)
        ),
        **found,
    )


def _interpreted(graph: Graph, x: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [_vectors(run(graph, x[at : at + _BATCH])) for at in range(0, len(x), _BATCH)]
    )


def _is_graph(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_GRAPH_MAGIC)) == _GRAPH_MAGIC
    except OSError as error:
        raise NbqnnError(
            f"Graph or program {str(path)!r} cannot be read: {error.strerror}"
        ) from None


def network_ends(graph: Graph) -> tuple[tuple[int, ...], int, int]:
    """Shape of the input, number of outputs, and exponent of the outputs.

    Raises :class:`NbqnnError` for a network that does not give one number for each class.
    """
    if len(graph.input_nodes) != 1 or len(graph.outputs) != 1:
        raise NbqnnError(
            f"Network must have one input and one output to name classes, not "
            f"{len(graph.input_nodes)} and {len(graph.outputs)}"
        )
    if isinstance(graph[graph.outputs[0]], ArgMax):
        raise NbqnnError(
            "Network must give one number for each class, not only the number of the largest; "
            "remedy: compile it without --arg-max"
        )
    types = tensor_types(graph)
    last = types[graph.outputs[0]]
    if any(size != 1 for size in last.shape[1:]):
        raise NbqnnError(f"Network must give one number for each class, not a map {last.shape}")
    return types[graph.input_nodes[0].name].shape, last.shape[0], last.exponent


def _names(file: Path | None, outputs: int) -> tuple[str, ...] | None:
    if file is None:
        return None
    try:
        if file.stat().st_size > _LARGEST_NAMES:
            raise NbqnnError(f"Classes {str(file)!r} must have at most {_LARGEST_NAMES} bytes")
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise NbqnnError(f"Classes {str(file)!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NbqnnError(f"Classes {str(file)!r} must be text, one name in each line") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) != outputs:
        raise NbqnnError(
            f"Classes {str(file)!r} must have {outputs} lines, one for each output, "
            f"not {len(lines)}"
        )
    return tuple(line.strip() for line in lines)


def _preparation(
    path: Path, meaning: Meaning, given: Given, shape: tuple[int, ...]
) -> Callable[[], Preparation]:
    """How pictures are prepared. This is called only if there is a picture."""

    def find() -> Preparation:
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise NbqnnError(
                f"Pictures need a network of one or three channels, not inputs of shape {shape}; "
                "remedy: .npy files"
            )
        if (given.mean is None) != (given.std is None):
            raise NbqnnError("Pictures need both of --mean and --std, or none")
        crop = 1.0 if given.crop is None else given.crop
        if given.mean is not None:
            mean, std = (_numbers(text, shape[0]) for text in (given.mean, given.std))
            if min(std) <= 0:
                raise NbqnnError(f"Std must be positive, not {given.std!r}")
            return Preparation(
                mean=tuple(255 * value for value in mean),
                scale=tuple(1 / (255 * value) for value in std),
                enlarge=_enlargement(crop),
            )
        if meaning.preparation is None:
            raise NbqnnError(
                f"How pictures become inputs of {str(path)!r} is not known; remedy: --mean and "
                "--std of its training data, in 0...1, or .npy files"
            )
        if given.crop is not None:
            return replace(meaning.preparation, enlarge=_enlargement(crop))
        return meaning.preparation

    return find


def _enlargement(crop: float) -> tuple[int, int]:
    return 1000, round(1000 * crop)


def _numbers(text: str, channels: int) -> tuple[float, ...]:
    """``channels`` numbers from a text with commas; a single number counts for all channels."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, channels) or not np.isfinite(numbers).all():
        raise NbqnnError(f"Mean and std must be {channels} numbers with commas, not {text!r}")
    return numbers * (channels // len(numbers))


def _check_pictures(files: Sequence[Path], given: Given) -> None:
    """Refuses what is said about pictures where there is none."""
    said = [name for name in ("mean", "std", "crop") if getattr(given, name) is not None]
    if said and all(file.suffix.lower() == ".npy" for file in files):
        raise NbqnnError(
            f"--{said[0]} is for pictures, and all of the images are .npy files: they hold what "
            f"the network sees; remedy: leave out {', '.join(f'--{name}' for name in said)}"
        )


def _inputs(
    files: Sequence[Path], shape: tuple[int, ...], preparation: Callable[[], Preparation]
) -> tuple[list[str], np.ndarray]:
    """A label for each image, and float32 inputs (N, ...)."""
    labels: list[str] = []
    parts: list[np.ndarray] = []
    for file in files:
        if file.suffix.lower() == ".npy":
            x = _array(file, shape)
            labels += [f"{file}[{index}]" for index in range(len(x))]
        elif file.suffix.lower() in (".npz", ".pt", ".pth", ".csv", ".safetensors"):
            raise NbqnnError(
                f"Images {str(file)!r} must be a picture or a .npy file; remedy: np.save"
            )
        else:
            from nbqnn_train.inputs.decoding import read_picture

            x = preparation().prepare(read_picture(file), shape)[None]
            labels.append(str(file))
        parts.append(x)
    return labels, np.concatenate(parts)


def _array(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    x = read_images(file, single=shape)
    if x.shape == shape:
        x = x[None]
    if not same_order(x.shape[1:], shape):
        raise NbqnnError(
            f"images {str(file)!r} must have shape (N, {', '.join(map(str, shape))}), not {x.shape}"
        )
    return x.reshape(len(x), *shape)


def _vectors(codes: np.ndarray) -> np.ndarray:
    codes = np.asarray(codes)
    return codes.reshape(codes.shape[:2])


def _on_accelerator(
    program: Program, x: np.ndarray, progress: Callable[[int, int], None]
) -> tuple[np.ndarray, dict]:
    """Outputs of the RTL, up to the first image with codes that differ from the interpreter's."""
    from sim.design import generated_design
    from sim.runs import compare_images, open_driver

    memory = find_memory(_MEMORY)
    verilog = generated_design(program).verilog
    bus, driver = open_driver(program, verilog, memory.timing(program.config.clock_mhz))
    with bus:
        results, wrong = compare_images(driver, program, x, progress)
    name = program.outputs[0].name
    codes = np.concatenate([_vectors(result.outputs[name]) for result in results])
    cycles = estimate_program(program, memory).cycles_per_image
    return codes, {
        "by": "accelerator",
        "cycles_per_image": cycles,
        "microseconds_per_image": cycles / program.config.clock_mhz,
        "clock_mhz": program.config.clock_mhz,
        "mismatches": len(wrong),
    }


def _in_circuit(
    path: Path, circuit: SpatialBuild, graph: Graph, x: np.ndarray
) -> tuple[np.ndarray, dict]:
    """Outputs of the circuit's RTL at full rate."""
    from sim.spatial.stream import run_stream

    codes = run_stream(path, circuit, quantize_input(graph.input_nodes[0], x)).codes
    return codes, {
        "by": "circuit",
        "cycles_per_image": float(circuit.cycles_per_image),
        "microseconds_per_image": circuit.cycles_per_image / circuit.clock_mhz,
        "clock_mhz": circuit.clock_mhz,
        "mismatches": int((codes != _interpreted(graph, x)).any(axis=1).sum()),
    }


def class_scores(graph: Graph, values: np.ndarray) -> tuple[np.ndarray, str]:
    """Scores 0...1 of the real outputs ``values`` (N, classes), and their kind: "softmax" or
    "sigmoid"."""
    if graph.final == ("sigmoid",):
        return 1 / (1 + np.exp(-values)), "sigmoid"
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True), "softmax"


def _best(
    values: np.ndarray, scores: np.ndarray, top: int, names: Sequence[str] | None
) -> tuple[PredictedClass, ...]:
    """The classes of the largest outputs; of equal ones the first."""
    return tuple(
        PredictedClass(
            number=int(number),
            name=names[number] if names else str(number),
            score=float(scores[number]),
            output=float(values[number]),
        )
        for number in np.argsort(-values, kind="stable")[:top]
    )
