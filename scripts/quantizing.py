"""``nbqnn quantize``: from a trained network in full precision to the integer graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nbqnn_train.convert import QuantConfig
from nbqnn_train.data import DataSets, LabelledImages, load_data
from nbqnn_train.export import export_graph
from nbqnn_train.graph import Graph, NbqnnError, run, save
from nbqnn_train.graph.report import describe
from nbqnn_train.inputs.meaning import Meaning, meaning_file, write_meaning
from nbqnn_train.learn.accuracy import count_correct, count_correct_graph
from nbqnn_train.learn.networks import check_images, float_network
from nbqnn_train.models import MODELS, check_model
from nbqnn_train.quantize import quantize
from nbqnn_train.user_code import located
from scripts.images import read_images
from scripts.quantize_result import QuantizeResult

__all__ = ["Task", "Trained", "agreement", "quantize_network"]

_BATCH = 64


@dataclass(frozen=True)
class Trained:
    """A network in full precision, inputs for it (N, C, H, W), and the data set they are from."""

    network: nn.Module
    x: np.ndarray
    sets: DataSets | None

    def meaning(self) -> Meaning:
        """What inputs and outputs are."""
        if self.sets is None:
            return Meaning()
        preparation = getattr(self.sets.test, "preparation", None)
        return Meaning(preparation=preparation, classes=self.sets.class_names)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be quantized, as the command line names it.

    model, pretrained : the network and its weights. inputs : a ``.npy`` file; or data, data_dir : a
        data set. classes : outputs, for networks that ask; a data set has its own.
    """

    model: str
    pretrained: Path | None = None
    inputs: Path | None = None
    data: str | None = None
    data_dir: Path | None = None
    classes: int | None = None

    def anywhere(self) -> "Task":
        """The same with absolute paths, so that it means the same in every folder."""
        paths = {name: getattr(self, name) for name in ("pretrained", "inputs", "data_dir")}
        return replace(
            self,
            model=located(self.model),
            data=None if self.data is None else located(self.data),
            **{name: path.absolute() for name, path in paths.items() if path is not None},
        )

    def read(self, images: int, seed: int) -> Trained:
        """The network, and at most ``images`` inputs from the file or training images of the set.

        Raises :exc:`NbqnnError` for what cannot be read or does not fit together.
        """
        if (self.inputs is None) == (self.data is None):
            raise NbqnnError("Inputs must be given by one of --input X.npy and --data")
        check_model(self.model)
        if self.pretrained is None and self.model in MODELS:
            raise NbqnnError(
                f"Weights must be given by --pretrained: {self.model!r} begins with random ones"
            )
        sets = None if self.data is None else load_data(self.data, self.data_dir)
        if sets is None:
            x = read_images(self.inputs)[:images]
            outputs = self.classes
        else:
            x = _training_images(sets, images, seed)
            outputs = sets.classes
            check_images(self.model, outputs, sets.input_shape)
        network = float_network(self.model, outputs, x.shape[1], self.pretrained).eval()
        return Trained(network, x, sets)


def quantize_network(
    task: Task,
    out: Path,
    quantization: QuantConfig,
    *,
    images: int = 1024,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> QuantizeResult:
    """Quantizes a network with some inputs and writes its graph to ``out``.

    Inputs come from a ``.npy`` file or are training images of a data set, at most ``images`` of
    them. Labels are not used. With a data set, its test images tell the accuracy.
    """
    trained = task.read(images, seed)
    network, x, sets = trained.network, trained.x, trained.sets
    batches = [torch.from_numpy(x[at : at + _BATCH]) for at in range(0, len(x), _BATCH)]
    quantized = quantize(
        network,
        batches,
        quantization,
        images=images,
        seed=seed,
        example=batches[0][:1],
        progress=lambda done, total, _: progress(done, total),
    )
    graph = export_graph(quantized, tuple(x.shape[1:]))
    result = QuantizeResult(
        images=len(x),
        nodes=len(graph.nodes),
        weight_bytes=sum(row.bytes for row in describe(graph)),
        agreement=agreement(network, graph, batches),
        notes=tuple(quantized.notes),
        **({} if sets is None else _accuracies(network, graph, sets.test)),
    )
    save(graph, out)
    write_meaning(meaning_file(out), trained.meaning(), graph)
    return result


def _training_images(sets: DataSets, images: int, seed: int) -> np.ndarray:
    """Some training images, without augmentation. The same seed gives the same ones."""
    order = np.random.default_rng(seed).permutation(len(sets.train))
    return sets.train.images(order[:images])


def agreement(network: nn.Module, graph: Graph, batches: Sequence[Tensor]) -> float | None:
    """Share of images with the same class, 0...1; None where the output is no vector of classes."""
    equal = count = 0
    with torch.no_grad():
        for batch in batches:
            wanted, codes = network(batch), run(graph, batch.numpy())
            if not isinstance(wanted, Tensor) or wanted.ndim != 2 or isinstance(codes, tuple):
                return None
            if codes.shape != wanted.shape:
                return None
            equal += int((codes.argmax(axis=1) == wanted.numpy().argmax(axis=1)).sum())
            count += len(batch)
    return equal / count


def _accuracies(network: nn.Module, graph: Graph, test: LabelledImages) -> dict:
    return {
        "float_accuracy": count_correct(network, test) / len(test),
        "accuracy": count_correct_graph(graph, test) / len(test),
        "test_images": len(test),
    }
