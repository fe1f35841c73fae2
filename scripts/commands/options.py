"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from nbqnn_train.graph.errors import NbqnnError
from scripts.commands.outputs import output_file

__all__ = [
    "ClassesOption",
    "ClusterOption",
    "DataDirOption",
    "DataOption",
    "GraphArgument",
    "InputBitsOption",
    "InputsDataOption",
    "InputsOption",
    "JsonOption",
    "ModelOption",
    "OutputBitsOption",
    "PretrainedOption",
    "RunArgument",
    "ShapeOption",
    "complete_board",
    "complete_preset",
    "graph_file",
    "program_file",
]


def complete_preset(begun: str) -> list[str]:
    """Presets whose names begin so, for the shell."""
    from hw.boards.presets import PRESETS

    return [name for name in PRESETS if name.startswith(begun)]


def complete_board(begun: str) -> list[str]:
    """Boards whose names begin so, for the shell."""
    from hw.boards.registry import BOARDS

    return [name for name in BOARDS if name.startswith(begun)]


def graph_file(path: Path | None) -> Path | None:
    """Where a graph is: a file or folder as it is named, or else a trained network of nbqnn."""
    from nbqnn_train.cards import named_graph

    return None if path is None else named_graph(path)


def program_file(path: Path) -> Path:
    """``path``; the name of a trained network is refused with the way to its program."""
    from nbqnn_train.cards import card_names

    if not path.exists() and str(path) in card_names():
        raise NbqnnError(
            f"Program must be a file, not the name {str(path)!r} of a graph; "
            f"remedy: nbqnn compile {path} --hw BUILD -o PROGRAM"
        )
    return path


GraphArgument = Annotated[
    Path,
    typer.Argument(
        callback=graph_file, metavar="GRAPH", help="Graph file, or a name of nbqnn models."
    ),
]
RunArgument = Annotated[
    Path,
    typer.Argument(
        callback=graph_file,
        metavar="RUN|GRAPH",
        help="Run folder, graph file, or a name of nbqnn models.",
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="Network: a name such as digits, FILE.py:function, module:function or FILE.onnx.",
    ),
]
ShapeOption = Annotated[
    str | None,
    typer.Option("--shape", metavar="C,H,W", help="Of one input; F alone for vectors."),
]
DataOption = Annotated[
    str,
    typer.Option("--data", help="Data set: a name such as digits, or FILE.py:function."),
]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder with the data set's files.")
]
PretrainedOption = Annotated[
    Path | None,
    typer.Option(
        "--pretrained",
        metavar="WEIGHTS",
        help="Full-precision weights: .safetensors, or of torch.save (.pt, .pth, .ckpt …); "
        "without them those that the model's function loads.",
    ),
]
InputsOption = Annotated[
    Path | None,
    typer.Option(
        "--input", metavar="X.npy", help="Inputs as the network was trained with, float32."
    ),
]
InputsDataOption = Annotated[
    str | None, typer.Option("--data", help="Data set whose training images are the inputs.")
]
ClassesOption = Annotated[
    int | None,
    typer.Option(
        "--classes",
        min=1,
        max=1 << 20,
        help="Outputs, for networks that ask; a data set has its own.",
    ),
]
InputBitsOption = Annotated[
    int | None,
    typer.Option(
        "--input-bits",
        help="Bits of the network's inputs; by default as many as of an activation.",
    ),
]
OutputBitsOption = Annotated[
    int | None,
    typer.Option(
        "--output-bits",
        help="Bits of the network's outputs; by default as many as of an activation.",
    ),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="URL|local",
        help="Work on a cluster of Dask: the address of its scheduler, or this machine's cores.",
    ),
]
JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        callback=output_file,
        help="Also write the result to this file; - for standard output.",
    ),
]
