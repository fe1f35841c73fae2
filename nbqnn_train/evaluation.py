"""How good a run or a graph is, on all test images, in exact arithmetic."""

from pathlib import Path

from nbqnn_train.data import load_data
from nbqnn_train.data.reshaped import in_shape
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.infer import tensor_types
from nbqnn_train.graph.nodes import Graph
from nbqnn_train.graph.results import Evaluation
from nbqnn_train.graph.storage import load
from nbqnn_train.learn.accuracy import count_correct, count_correct_graph
from nbqnn_train.learn.runs import CONFIG, read_run
from nbqnn_train.learn.trained import trained_network

__all__ = ["evaluate"]


def evaluate(path: Path, data: str, data_dir: Path | None = None) -> Evaluation:
    """The accuracy on the test images of ``data``.

    ``path`` is the folder of a run, computed by PyTorch in float64, or the file of a graph,
    computed by the interpreter. The two agree to the bit.
    """
    path = Path(path)
    if not path.exists():
        raise NbqnnError(f"Run or graph must exist, not {str(path)!r}")
    if path.is_dir() and (path / CONFIG).is_file():
        run = read_run(path)
        subject, shape = trained_network(path, run), run.input_shape
        count, outputs = count_correct, run.classes
    else:
        subject = load(path)
        shape = tensor_types(subject)[subject.input_nodes[0].name].shape
        count, outputs = count_correct_graph, _outputs(subject)
    sets = load_data(data, data_dir)
    if outputs < sets.classes:
        raise NbqnnError(
            f"Network must have an output for each of the {sets.classes} classes of data set "
            f"{data!r}, not {outputs}"
        )
    images = in_shape(sets.test, shape)
    return Evaluation(accuracy=count(subject, images) / len(images), images=len(images))


def _outputs(graph: Graph) -> int:
    """How many numbers a graph gives for an image."""
    if len(graph.input_nodes) > 1 or len(graph.outputs) > 1:
        raise NbqnnError(
            f"Network must have one input and one output to be evaluated, "
            f"not {len(graph.input_nodes)} and {len(graph.outputs)}"
        )
    shape = tensor_types(graph)[graph.outputs[0]].shape
    if any(size != 1 for size in shape[1:]):
        raise NbqnnError(f"Network must give one number for each class, not a map {shape}")
    return shape[0]
