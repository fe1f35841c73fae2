"""``nbqnn evaluate``: the accuracy of a run or a graph."""

from scripts.commands.options import DataDirOption, DataOption, JsonOption, RunArgument
from scripts.output import console, write_json

__all__ = ["evaluate"]


def evaluate(
    path: RunArgument,
    data: DataOption,
    data_dir: DataDirOption = None,
    json: JsonOption = None,
) -> None:
    """Accuracy on all test images, in exact arithmetic."""
    from nbqnn_train.evaluation import evaluate as run_evaluation

    result = run_evaluation(path, data, data_dir)
    write_json(json, result)
    console.print(f"accuracy {result.accuracy:.2%} of {result.images} images")
