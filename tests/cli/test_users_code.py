"""Models and data sets of a user's own: found, run, remembered, refused in one line."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nbqnn_train.convert import QuantConfig, convert
from nbqnn_train.learn.runs import CONFIG
from nbqnn_train.models import build_model

TRAIN = ["train", "--epochs", "1", "--out", "run"]

DATA = """
from dataclasses import replace
import numpy as np
from nbqnn_train.data import DataSets, ImageSet

def load(folder, form=lambda labels: labels, fill=0.0):
    def part(count):
        rng = np.random.default_rng(0)
        pixels = rng.random((count, 1, 8, 8), np.float32)
        pixels[0, 0, 0, 0] += fill
        labels = form(rng.integers(0, 4, count))
        return ImageSet(pixels, labels, np.zeros(1), np.ones(1))
    return DataSets("mine", part(32), part(16), (1, 8, 8), 4)

def int32(folder): return load(folder, lambda labels: labels.astype(np.int32))
def column(folder): return load(folder, lambda labels: labels[:, None].astype(np.uint8))
def one_hot(folder): return load(folder, lambda labels: np.eye(4)[labels])
def floats(folder): return load(folder, lambda labels: labels.astype(np.float32))
def single(folder): return replace(load(folder, lambda labels: 0 * labels), classes=1)
def large(folder): return load(folder, lambda labels: labels + 1)
def not_finite(folder): return load(folder, fill=np.nan)
def raises(folder): return {}["missing"]
def nothing(folder): pass
"""

MODEL = """
import warnings
import torch
from torch import nn

def build(classes, channels):
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, classes),
    )

def shared(classes, channels):
    conv = nn.Conv2d(channels, channels, 3, padding=1)
    return nn.Sequential(conv, nn.ReLU(), conv, nn.Flatten(), nn.Linear(64, classes))

def still(classes, channels): return build(classes, channels).requires_grad_(False)

def normed(classes, channels):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, classes)
    )

class Net(nn.Sequential):
    def __init__(self, classes=3):
        super().__init__(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))

class Output(nn.Sequential):
    # As networks of transformers do.
    def forward(self, x): return {"loss": None, "logits": super().forward(x)}

def nested(classes, channels): return Output(*build(classes, channels))
def wrapped(classes, channels): return nn.DataParallel(nested(classes, channels))
def half(classes, channels): return build(classes, channels).half()
def scripted(classes, channels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(build(classes, channels))

def fixed(): return build(5, 1)
def colours(): return build(10, 3)
def needy(width): return build(10, 1)
def wrong(): return "a network"
def raises(): raise ValueError("no\\nweights")
network = build(10, 1)
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "own_data.py").write_text(DATA)
    (tmp_path / "own_net.py").write_text(MODEL)
    return tmp_path


@pytest.fixture(autouse=True)
def forgotten():
    """What one test imports is unknown to the next, whose files lie elsewhere."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("nbqnn_user_", "own_")):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("form", "model"),
    [("int32", "digits"), ("column", "own_net.py:nested"), ("load", "own_net.py:half")],
)
def test_labels_of_another_form_train(nbqnn, files, form, model):
    model = ["--model", model, "--data", f"own_data:{form}"]
    outcome = nbqnn(*TRAIN, *model, "--batch-size", "32")
    assert outcome.code == 0, outcome
    assert " of 16 images " in outcome.out


def test_the_one_tensor_of_a_network_in_a_wrapper(files):
    """What converts it takes the wrapper off."""
    network = build_model(f"{files / 'own_net.py'}:wrapped", 4, 1)
    image = torch.zeros(1, 1, 8, 8)
    for module in (network, convert(network, QuantConfig(), image)):
        assert module(image).shape == (1, 4)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("one_hot", r"Labels must be class numbers \(N,\), .*\(32, 4\); remedy: labels\.argmax.*"),
        ("floats", r"Labels must be integers, not float32; remedy: labels\.astype\(np\.int64\).*"),
        ("large", r"Data set 'mine': training labels must be in 0\.\.3, not 4"),
        ("not_finite", r"Pixels must be finite in float32, not nan at \[0, 0, 0, 0\]"),
        ("single", "must have at least 2 classes to train, not 1"),
        ("raises", r"raised KeyError: 'missing' \(.*own_data\.py, line \d+\)"),
        ("nothing", "must return DataSets, not NoneType"),
        ("gone", r".*own_data must have a function 'gone'; it has load, int32, .*"),
    ],
)
def test_data_is_refused_before_anything_is_written(refused, files, form, message):
    data = f"own_data:{form}"
    refused(f"Data set '{data}'(: )? ?{message}", *TRAIN, "--model", "digits", "--data", data)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_net.py:colours", r"must fit images of shape \(1, 8, 8\): RuntimeError: .*"),
        ("own_net.py:fixed", r"must return \(1, 10\) for 10 classes .*, not \(1, 5\)"),
        ("own_net.py:needy", "must need no more than classes and channels, not width; .*"),
        ("own_net.py:wrong", "must return a torch.nn.Module, not str"),
        (
            "own_net.py:scripted",
            "must return a network in Python, not TorchScript; remedy: the module that was .*",
        ),
        ("own_net.py:network", "must be a function that returns a network, not a network; .*"),
        ("own_net.py:raises", r"raised ValueError: no weights \(.*own_net\.py, line \d+\)"),
        ("own_net.py:gone", ": .*own_net.py must have a function 'gone'; it has build, .*Net, .*"),
        ("missing.py:build", ": file must exist, not '.*missing.py'"),
        ("own_nothing:build", ": there is no module 'own_nothing' .*"),
        ("broken.py:build", r": .*broken\.py raised SyntaxError: .* \(.*broken\.py, line 2\)"),
        ("importing.py:f", r": .*importing\.py raised ModuleNotFoundError: .*line 1\)"),
    ],
)
def test_models_are_refused(refused, files, name, message):
    (files / "broken.py").write_text("import torch\ndef build(:\n")
    (files / "importing.py").write_text("import own_missing_part\n")
    refused(f"Model '.*{name}' ?{message}", *TRAIN, "--model", name, "--data", "digits")


@pytest.fixture
def onnx_file(files):
    """A small network for the digits, in a folder of its own, with its weights beside it."""
    onnx = pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(4, 1, 3, 3)), "v": rng.normal(size=(4, 10)), "b": np.zeros(10)}
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], "filters"),
        onnx.helper.make_node("Relu", ["c"], ["r"]),
        onnx.helper.make_node("GlobalMaxPool", ["r"], ["p"]),
        onnx.helper.make_node("Flatten", ["p"], ["f"]),
        onnx.helper.make_node("Gemm", ["f", "v", "b"], ["y"], "classes"),
        onnx.helper.make_node("Softmax", ["y"], ["z"], "shares"),
    ]
    numbers = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [onnx.helper.make_tensor_value_info("x", numbers, ["N", 1, 8, 8])],
        [onnx.helper.make_tensor_value_info("z", numbers, ["N", 10])],
        [onnx.numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    folder = files / "nets"
    folder.mkdir()
    onnx.save(
        model,
        folder / "net.onnx",
        save_as_external_data=True,
        location="net.data",
        size_threshold=0,
    )
    return folder / "net.onnx"


def test_an_onnx_file_is_a_model(nbqnn, refused, files, onnx_file):
    outcome = nbqnn("check", "--model", "nets/net.onnx", "--data", "digits", "--json", "check.json")
    assert outcome.code == 0, outcome
    layers = json.loads(Path("check.json").read_text())["layers"]
    assert {"filters", "classes"} <= {layer["name"] for layer in layers}
    ways = ["--model", "nets/net.onnx", "--data", "digits"]
    outcome = nbqnn("quantize", *ways, "--images", "32", "-o", "quantized")
    assert outcome.code == 0, outcome
    outcome = nbqnn(*TRAIN, *ways, "--train-images", "64", "--batch-size", "32")
    assert outcome.code == 0, outcome
    assert "note: shares: softmax at the end is left out" in outcome.out
    assert nbqnn("export", "run", "-o", "graph").code == 0
    data = onnx_file.with_name("net.data")
    before = data.read_bytes()
    data.write_bytes(before[:-4] + np.float32(1).tobytes())
    message = (
        r"Model '.*net\.onnx' of 'run' must be as it was trained, .*; remedy: put run/model.onnx"
    )
    refused(f"{message} in its place.*", "export", "run", "-o", "graph")
    onnx_file.write_bytes((files / "run" / "model.onnx").read_bytes())
    assert nbqnn("export", "run", "-o", "graph").code == 0
    data.unlink()  # the copy has the weights in it
    assert nbqnn("export", "run", "-o", "graph").code == 0


def test_onnx_files_are_refused(refused, files, onnx_file):
    ways = [*TRAIN, "--data", "digits", "--model"]
    refused(r"Model '.*gone\.onnx' cannot be read: .*", *ways, "gone.onnx")
    (files / "no.onnx").write_text("not a model")
    refused(r"Model '.*no\.onnx' must be a valid ONNX model: .*", *ways, "no.onnx")
    ways[ways.index("digits")] = "own_data.py:load"
    refused(r"Model '.*net\.onnx' must return \(1, 4\) for 4 classes .*", *ways, "nets/net.onnx")


def test_a_run_finds_its_model_again(nbqnn, refused, files, monkeypatch):
    own = ["--model", "own_net.py:build", "--data", "own_data.py:load"]
    outcome = nbqnn(*TRAIN, *own)
    assert outcome.code == 0, outcome
    accuracy = json.loads((files / "run" / "result.json").read_text())["accuracy"]
    assert nbqnn(*TRAIN[:1], "--out", "run", "--resume").code == 0
    elsewhere = files / "elsewhere"
    elsewhere.mkdir()
    with monkeypatch.context() as moved:
        moved.chdir(elsewhere)
        assert nbqnn("export", files / "run", "-o", "graph").code == 0
        data = f"{files / 'own_data.py'}:load"
        assert nbqnn("evaluate", "graph", "--data", data, "--json", "x.json").code == 0
        assert json.loads(Path("x.json").read_text())["accuracy"] == accuracy
    changed = files / "own_net.py"
    changed.write_text(MODEL.replace("nn.ReLU()", "nn.ReLU6()"))
    message = r"Model '.*own_net\.py:build' of 'run' must be as it was trained, and .* is not: "
    remedy = r"; remedy: put run/model\.py in its place.*"
    refused(f"{message}it has changed since{remedy}", "export", "run", "-o", "graph")
    refused(f"{message}it has changed since{remedy}", *TRAIN, *own, "--resume")
    changed.unlink()
    refused(f"{message}it is gone{remedy}", "export", "run", "-o", "graph")
    changed.write_text((files / "run" / "model.py").read_text())
    assert nbqnn("export", "run", "-o", "graph").code == 0
    (files / "own_data.py").write_text(DATA + "#")
    message = r"Data set '.*own_data\.py:load' of 'run' must be as it was trained, and .* is not: "
    remedy = r"it has changed since; remedy: put run/data\.py in its place.*"
    refused(f"{message}{remedy}", *TRAIN[:1], "--out", "run", "--resume")


def test_a_class_in_a_package_is_a_model(nbqnn, files):
    (files / "own_package").mkdir()
    (files / "own_net.py").rename(files / "own_package" / "nets.py")
    model = ["--model", "own_package.nets:Net", "--data", "digits", "--float"]
    assert nbqnn(*TRAIN, *model, "--train-images", "64").code == 0
    assert f'folder = "{files}"' in (files / "run" / CONFIG).read_text()


SERIES = """
import numpy as np
from torch import nn
from nbqnn_train.data import DataSets, ImageSet

def vectors(folder, shape=(16,)):
    def part(count):
        x = np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)
        return ImageSet(x, (x.reshape(count, -1).sum(axis=1) > 0).astype(int), 0, 1)
    return DataSets("numbers", part(64), part(32), shape, 2)

def series(folder): return vectors(folder, (2, 8))

def dense(classes, channels):
    return nn.Sequential(nn.Linear(channels, 8), nn.ReLU(), nn.Linear(8, classes))

def convolution(classes, channels):
    return nn.Sequential(
        nn.Conv1d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        nn.Linear(4, classes),
    )
"""


@pytest.mark.parametrize(("model", "data"), [("dense", "vectors"), ("convolution", "series")])
def test_vectors_and_series_go_all_the_way(nbqnn, tmp_path, model, data):
    (tmp_path / "own_numbers.py").write_text(SERIES)
    named = ["--data", f"own_numbers.py:{data}"]
    assert nbqnn(*TRAIN, "--model", f"own_numbers.py:{model}", *named).code == 0
    assert nbqnn("export", "run", "-o", "graph").code == 0
    results = []
    for subject in ("run", "graph"):
        outcome = nbqnn("evaluate", subject, *named, "--json", "result.json")
        assert outcome.code == 0, outcome
        results.append(json.loads((tmp_path / "result.json").read_text()))
    assert results[0] == results[1]
    assert nbqnn("inspect", "graph", *named).code == 0


def test_weights_are_as_readable_as_other_files(nbqnn, files):
    assert nbqnn(*TRAIN, "--model", "own_net.py:build", "--data", "own_data.py:load").code == 0
    modes = {
        stat.S_IMODE((files / "run" / name).stat().st_mode)
        for name in ("weights.safetensors", "result.json")
    }
    assert len(modes) == 1


def test_modules_are_found_in_the_working_folder(files):
    """The program itself, whose first place to look is its own folder, not the working one."""
    program = f"import sys; sys.path.pop(0); sys.path.append({str(Path.cwd())!r}); " + (
        "from scripts.cli import main; sys.exit(main(['train', '--model', 'no', '--data', "
        "'own_data:load', '--out', 'run']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program.replace("'no'", "'own_net:wrong'")],
        cwd=files,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "must return a torch.nn.Module, not str" in done.stderr


@pytest.mark.parametrize("precision", [[], ["--full-precision"]])
def test_layers_that_share_weights_end_with_the_same_ones(nbqnn, files, tmp_path, precision):
    options = ["--model", "own_net.py:shared", "--data", "own_data.py:load", *precision]
    assert nbqnn(*TRAIN, *options).code == 0
    state = load_file(tmp_path / "run" / "weights.safetensors")
    convolutions = [value for value in state.values() if value.shape == (1, 1, 3, 3)]
    assert len(convolutions) == 2
    assert torch.equal(*convolutions)
    if not precision:
        assert nbqnn("export", "run", "-o", "graph").code == 0


def test_a_network_in_which_nothing_learns(refused, files):
    message = r"Model '.*own_net\.py:still' must have parameters that learn; remedy: .*"
    refused(message, *TRAIN, "--model", "own_net.py:still", "--data", "own_data.py:load")


@pytest.mark.parametrize("option", ["--batch-size", "--train-images"])
def test_one_image_leaves_a_batch_norm_nothing(refused, files, option):
    message = r"Batch size must be at least 2 for a batch norm of single positions, at '2' .* not 1"
    refused(
        message, *TRAIN, "--model", "own_net.py:normed", "--data", "own_data.py:load", option, "1"
    )
