"""What reads files that a stranger may have made: one function for each kind of file.

A file is read, or refused with an error of one line. Anything else is a finding: another exception,
a hang, memory that the size of the file does not justify.
"""

import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np

from hw.boards.presets import PRESETS, load_config
from hw.compiler import compile_graph, save_program
from hw.contract.program import load_program
from hw.driver import memory_bytes
from hw.synth.build import read_origin
from nbqnn_train.graph import NbqnnError, save, tensor_types
from tests.cli.networks import small_graph

__all__ = ["TARGETS", "Target"]

_FOLDER = Path(os.environ.get("NBQNN_FUZZ_FOLDER") or tempfile.mkdtemp(prefix="nbqnn-fuzz-"))
_LONGEST_LINE = 2000


@dataclass(frozen=True)
class Target:
    """A kind of file: good ones to begin with, and what reads one and checks what comes of it.

    ``modules`` are those that ``read`` imports when it is called.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes], None]
    modules: tuple[str, ...] = ()

    def check(self, data: bytes) -> None:
        """Raises :exc:`AssertionError`, or what the reader raised, for a finding."""
        try:
            self.read(data)
        except NbqnnError as error:
            text = str(error)
            assert "\n" not in text, text
            assert len(text) <= _LONGEST_LINE, text


def _file(name: str, data: bytes) -> Path:
    path = _FOLDER / name
    path.write_bytes(data)
    return path


# Programs -----------------------------------------------------------------------------------------

_ENTRIES = ("program.json", "commands.bin", "parameters.bin", "graph")


def _program_seeds() -> list[bytes]:
    path = _FOLDER / "seed"
    save_program(compile_graph(small_graph(), PRESETS["tiny"], batch=2), path)
    with zipfile.ZipFile(path) as archive:
        entries = [bytes([1 + i]) + archive.read(name) for i, name in enumerate(_ENTRIES)]
    return [b"\0" + path.read_bytes(), *entries]


def _read_program(data: bytes) -> None:
    """The first byte says what the others are: the whole file, or one entry of a good one."""
    which = data[0] % 5 if data else 0
    content = data[1:]
    if which:
        if not (_FOLDER / "seed").exists():
            _program_seeds()
        file = BytesIO()
        with zipfile.ZipFile(_FOLDER / "seed") as good, zipfile.ZipFile(file, "w") as archive:
            for index, name in enumerate(_ENTRIES):
                archive.writestr(name, content if which == 1 + index else good.read(name))
        content = file.getvalue()
    program = load_program(_file("program", content))
    elements = sum(prod(type_.shape) for type_ in tensor_types(program.graph).values())
    # Words of a map have as many channels as the array has lanes, and begin on a beat.
    words = program.batch * elements * max(program.config.act_word_bits, 1024) // 8
    allowed = 16 * words + 2 * len(content) + 64 * 4096 * program.config.axi_ports
    assert memory_bytes(program) <= allowed, (memory_bytes(program), allowed)


# Configurations -----------------------------------------------------------------------------------


def _config_seeds() -> list[bytes]:
    config = json.loads(PRESETS["tiny"].to_json())
    build = {"rtl": "0" * 64, "tools": {"amaranth": "0.5"}, "commit": "abc"}
    toml = "".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items())
    return [b"\0" + json.dumps(config | {"build": build}).encode(), b"\1" + toml.encode()]


def _read_config(data: bytes) -> None:
    if data[:1] == b"\1":
        load_config(path=_file("hw.toml", data[1:]))
        return
    path = _file("hw.json", data[1:])
    config = load_config(path=path)
    read_origin(path)
    assert config.digest >> 32 == 0


# Images and data sets -----------------------------------------------------------------------------


def _npy(values: np.ndarray) -> bytes:
    file = BytesIO()
    np.save(file, values)
    return file.getvalue()


def _images_seeds() -> list[bytes]:
    return [_npy(np.ones(shape, np.float32)) for shape in ((2, 1, 3, 3), (2, 5))]


def _read_images(data: bytes) -> None:
    from scripts.images import read_images

    assert read_images(_file("x.npy", data)).nbytes <= 64 + 16 * len(data)


def _idx_seeds() -> list[bytes]:
    content = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + bytes(range(24))
    import gzip

    return [b"\0" + content, b"\1" + gzip.compress(content, mtime=0)]


def _read_idx(data: bytes) -> None:
    from nbqnn_train.data.idx import read_idx

    read_idx(_file("idx.gz" if data[:1] == b"\1" else "idx", data[1:]), 3)


def _pickle_seeds() -> list[bytes]:
    import pickle

    array = np.zeros((2, 3072), np.uint8)
    return [pickle.dumps({"data": array, "labels": [1, 2]}, protocol=p) for p in (2, 4)]


def _read_pickle(data: bytes) -> None:
    from nbqnn_train.data.inert_pickle import InertPickleError, byte_array, read_inert

    try:
        content = read_inert(data)
        if isinstance(content, dict):
            byte_array(content.get("data"))
    except InertPickleError as error:
        raise NbqnnError(str(error)) from None


# Weights and networks of others -------------------------------------------------------------------


def _weights_seeds() -> list[bytes]:
    import torch
    from safetensors.torch import save as save_safetensors

    tensors = {"conv.weight": torch.ones(2, 3), "conv.bias": torch.zeros(2)}
    file = BytesIO()
    torch.save(tensors, file)
    return [b"\0" + save_safetensors(tensors), b"\1" + file.getvalue()]


def _read_weights(data: bytes) -> None:
    from nbqnn_train.learn.weight_files import read_weights

    read_weights(_file("w.pth" if data[:1] == b"\1" else "w.safetensors", data[1:]))


def _run_seeds() -> list[bytes]:
    import tomli_w

    from nbqnn_train.learn.config import TrainConfig, config_table

    table = config_table(TrainConfig(model="digits", data="digits"))
    return [tomli_w.dumps({"train": table}).encode()]


def _read_run(data: bytes) -> None:
    from nbqnn_train.learn.config import read_config

    read_config(_file("run.toml", data))


def _qonnx_seeds() -> list[bytes]:
    from nbqnn_train.qonnx import export_qonnx

    export_qonnx(small_graph(), _FOLDER / "seed.onnx")
    return [(_FOLDER / "seed.onnx").read_bytes()]


def _read_qonnx(data: bytes) -> None:
    from nbqnn_train.qonnx import import_qonnx

    import_qonnx(_file("model.onnx", data))


# Results ------------------------------------------------------------------------------------------


def _report_seeds() -> list[bytes]:
    from tests.cli.test_report import RESULTS

    return [json.dumps(content).encode() for content in RESULTS.values()]


def _read_report(data: bytes) -> None:
    from scripts.report import build_report

    folder = _FOLDER / "results"
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_bytes(data)
    build_report(folder, _FOLDER / "report.html")


# Graphs -------------------------------------------------------------------------------------------


def _graph_seeds() -> list[bytes]:
    from tests.fuzz.graph_storage import seed

    save(small_graph(), _FOLDER / "graph")
    return [seed(), b"\1" + (_FOLDER / "graph").read_bytes()[16:-32]]


def _read_graph(data: bytes) -> None:
    from tests.fuzz.graph_storage import check

    check(data)


TARGETS = {
    "graph": Target(_graph_seeds, _read_graph, ("tests.fuzz.graph_storage",)),
    "program": Target(_program_seeds, _read_program),
    "configuration": Target(_config_seeds, _read_config),
    "images": Target(_images_seeds, _read_images, ("scripts.images",)),
    "idx": Target(_idx_seeds, _read_idx, ("nbqnn_train.data.idx",)),
    "pickle": Target(_pickle_seeds, _read_pickle, ("nbqnn_train.data.inert_pickle",)),
    "weights": Target(_weights_seeds, _read_weights, ("nbqnn_train.learn.weight_files",)),
    "run": Target(_run_seeds, _read_run, ("nbqnn_train.learn.config",)),
    "qonnx": Target(_qonnx_seeds, _read_qonnx, ("nbqnn_train.qonnx",)),
    "report": Target(_report_seeds, _read_report, ("scripts.report",)),
}
