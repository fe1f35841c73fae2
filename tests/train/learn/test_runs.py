"""Runs: refused, interrupted, resumed, diverged, damaged."""

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from nbqnn_train.convert import QuantConfig
from nbqnn_train.data import load_data, split
from nbqnn_train.evaluation import evaluate
from nbqnn_train.graph import save
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn import checkpoints
from nbqnn_train.learn.accuracy import count_correct
from nbqnn_train.learn.config import TrainConfig, merge_config, read_config
from nbqnn_train.learn.module import QuantizedTrainingModule, TrainingModule
from nbqnn_train.learn.networks import float_network, load_state
from nbqnn_train.learn.phases import Schedule
from nbqnn_train.learn.pictures import read_metrics
from nbqnn_train.learn.results import TrainingResult
from nbqnn_train.learn.runs import read_run
from nbqnn_train.learn.trained import export_run, load_run
from nbqnn_train.learn.training import train
from nbqnn_train.learn.weight_files import read_weights
from nbqnn_train.models import MODELS, build_model
from nbqnn_train.quantize import quantize

EPOCHS = 6
OPTIONS = {"model": "digits", "data": "digits", "epochs": EPOCHS, "batch_size": 128}
SCRIPT = """
import sys
from pathlib import Path
from nbqnn_train.learn.config import TrainConfig
from nbqnn_train.learn.training import train
train(TrainConfig(model="digits", data="digits", epochs=6, batch_size=128), Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "finished"
    train(TrainConfig(**OPTIONS), out)
    return out


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "weights.safetensors")


def assert_same_weights(a: Path, b: Path) -> None:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_same_seed_same_weights(finished, tmp_path):
    train(TrainConfig(**OPTIONS), tmp_path / "again")
    assert_same_weights(finished, tmp_path / "again")
    train(TrainConfig(**OPTIONS, seed=1), tmp_path / "other")
    assert not torch.equal(
        weights(finished)["ops.classifier.weight"],
        weights(tmp_path / "other")["ops.classifier.weight"],
    )


def test_first_weights_depend_on_the_seed_alone(digits_weights, tmp_path):
    """Not on what is drawn for a teacher."""
    options = {**OPTIONS, "epochs": 1, "lr": 1e-9}
    train(TrainConfig(**options), tmp_path / "alone")
    train(TrainConfig(**options, teacher=digits_weights), tmp_path / "taught")
    first, second = weights(tmp_path / "alone"), weights(tmp_path / "taught")
    name = "ops.classifier.weight"
    assert torch.allclose(first[name], second[name], rtol=0, atol=1e-6)


def test_killed_and_resumed_is_as_if_never_interrupted(finished, tmp_path):
    out = tmp_path / "killed"
    checkpoint = out / "last.ckpt"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.is_file() and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    assert checkpoint.is_file()
    assert not (out / "result.json").exists()
    result = train(TrainConfig(**OPTIONS), out, resume=True)
    assert result["epochs"] == EPOCHS
    assert_same_weights(finished, out)


@pytest.mark.parametrize("batch", [13, 62])
def test_interrupted_before_any_batch_and_resumed(batch, finished, tmp_path, monkeypatch):
    """In the middle of the second epoch, and of the last, where batch norm is frozen."""
    out = tmp_path / "parts"
    interrupted_before(batch, TrainConfig(**OPTIONS), out, monkeypatch)
    train(TrainConfig(**OPTIONS), out, resume=True)
    assert_same_weights(finished, out)


def interrupted_before(number, config, out, monkeypatch) -> None:
    """A training that writes checkpoints as often as it can and stops before that batch."""
    monkeypatch.setattr(checkpoints, "_SECONDS", 0.0)
    start = QuantizedTrainingModule.on_train_batch_start

    def interrupt(module, batch, batch_idx):
        if module.current_epoch * module.trainer.num_training_batches + batch_idx == number:
            raise KeyboardInterrupt
        start(module, batch, batch_idx)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(QuantizedTrainingModule, "on_train_batch_start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(config, out)


def test_a_checkpoint_is_not_written_within_a_step(tmp_path, monkeypatch):
    """Gradients of a part of a step would be lost: batches 4 to 7 are one."""
    config = TrainConfig(**OPTIONS | {"epochs": 2, "accumulate": 4})
    train(config, tmp_path / "whole")
    interrupted_before(6, config, tmp_path / "parts", monkeypatch)
    train(config, tmp_path / "parts", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


class WithDropout(nn.Sequential):
    """A small network; quantized, its dropout vanishes."""

    def __init__(self, classes: int, channels: int):
        super().__init__(
            nn.Conv2d(channels, 8, 3, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(72, classes),
        )


def test_dropout_after_an_interruption(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "dropout", WithDropout)
    config = TrainConfig(**OPTIONS | {"model": "dropout", "epochs": 3, "full_precision": True})
    train(config, tmp_path / "whole")

    def interrupt(module):
        if module.current_epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(TrainingModule, "on_train_epoch_start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "parts")
    train(config, tmp_path / "parts", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


def test_a_float_network_learns_to_the_end(tmp_path, monkeypatch):
    """Its weights do not stand still before that."""
    rates = []
    step = TrainingModule.training_step

    def recorded(module, batch, batch_idx):
        rates.append([group["lr"] for group in module.optimizers().param_groups])
        return step(module, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", recorded)
    train(TrainConfig(**OPTIONS, full_precision=True), tmp_path / "run")
    assert all(weights == others > 0 for weights, others in rates)


def test_gradients_are_clipped_to_a_norm(tmp_path, monkeypatch):
    """Those of the step: with what makes up for the derivative of the blend."""
    norms = []

    def recorded(module, optimizer):
        gradients = [p.grad.norm() for p in module.parameters() if p.grad is not None]
        if gradients:  # of the step before
            norms.append(float(torch.stack(gradients).norm()))

    monkeypatch.setattr(QuantizedTrainingModule, "on_before_zero_grad", recorded)
    train(TrainConfig(**OPTIONS), tmp_path / "free")
    free, norms[:] = max(norms), []
    train(TrainConfig(**OPTIONS, clip_gradients=0.5), tmp_path / "clipped")
    assert free > 1
    assert max(norms) == pytest.approx(0.5, rel=1e-3)


def test_stops_early_with_the_best_weights(tmp_path, monkeypatch, capsys):
    """A learning rate that ruins the network after the first epochs."""
    monkeypatch.setattr(Schedule, "learning_rate", lambda schedule, step: 1 if step < 45 else 1e3)
    options = OPTIONS | {"full_precision": True, "epochs": 30, "validation": 100, "patience": 2}
    config = TrainConfig(**options)
    result = train(config, tmp_path / "run")
    assert result["epochs"] == result["best_epoch"] + 2 < 30
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == result["epochs"]  # one for each epoch, and nothing else
    shown = [float(line.split("accuracy ")[1].split("%")[0]) for line in lines]
    assert max(shown) == shown[result["best_epoch"] - 1]
    assert result["validation_accuracy"] == pytest.approx(max(shown) / 100, abs=1e-4)
    # The weights are those of the best epoch, not of the last one.
    held_out = split(load_data("digits"), None, 100).validation
    network = float_network("digits", 10, 1, tmp_path / "run" / "weights.safetensors")
    assert count_correct(network, held_out) / 100 == pytest.approx(max(shown) / 100)
    assert evaluate(tmp_path / "run", "digits").accuracy == result["accuracy"]
    # Resumed before it could write its result, it is still over.
    (tmp_path / "run" / "result.json").unlink()
    again = train(config, tmp_path / "run", resume=True)
    assert again["best_epoch"] == result["best_epoch"]
    assert again["accuracy"] == result["accuracy"]


def test_full_precision_is_what_another_training_begins_with(tmp_path):
    options = OPTIONS | {"epochs": 2}
    baseline = train(TrainConfig(**options, full_precision=True), tmp_path / "float")
    assert baseline["accuracy"] > 0.8
    assert evaluate(tmp_path / "float", "digits").accuracy == baseline["accuracy"]
    with pytest.raises(NbqnnError, match="Run must be of a quantized network, not in full"):
        export_run(tmp_path / "float")
    weights_file = tmp_path / "float" / "weights.safetensors"
    config = TrainConfig(**options, pretrained=weights_file, teacher=weights_file)
    assert train(config, tmp_path / "quantized")["accuracy"] > 0.8


def test_held_out_images_are_not_trained_with():
    whole = load_data("digits")
    data = split(whole, 500, 200)
    assert (len(data.train), len(data.validation), data.test) == (500, 200, whole.test)
    both = np.concatenate([data.train.numbers, data.validation.numbers])
    assert len(set(both.tolist())) == 700
    assert np.array_equal(split(whole, 100, 200).validation.numbers, data.validation.numbers)
    assert np.array_equal(data.train.images([3]), whole.train.images([data.train.numbers[3]]))
    assert data.train.labels[3] == whole.train.labels[data.train.numbers[3]]
    with pytest.raises(
        NbqnnError, match=r"must have 1438 training images to train and to validate with, not 1437"
    ):
        split(whole, 1238, 200)


def test_overrides_of_single_layers(tmp_path):
    file = tmp_path / "options.toml"
    file.write_text(
        '[train]\nmodel = "digits"\ndata = "digits"\nepochs = 9\nbits = 2\n'
        '[train.overrides."features.*"]\nweight_bits = 4\n'
        "[train.overrides.classifier]\nact_bits = 12\n"
    )
    config = merge_config(file, {"epochs": 1, "lr": None})
    assert (config.epochs, config.lr, config.bits) == (1, None, 2)
    train(config, tmp_path / "run")
    assert read_config(tmp_path / "run" / "config.toml") == config
    layers = load_run(tmp_path / "run").weighted_layers()
    assert {name: layer.bits for name, layer in layers.items()} == {
        "features_0": 4,
        "features_3": 4,
        "features_7": 4,
        "classifier": 2,
    }
    assert layers["classifier"].out.bits == 12
    # The configuration of a run describes another one.
    assert merge_config(tmp_path / "run" / "config.toml", {}) == config


def test_a_finished_run_is_not_trained_again(finished):
    before = (finished / "result.json").read_bytes()
    result = train(TrainConfig(**OPTIONS), finished, resume=True)
    assert result["images"] == 360
    assert (finished / "result.json").read_bytes() == before


def test_what_was_interrupted_at_its_pictures_gets_them(finished, tmp_path, monkeypatch):
    out = tmp_path / "run"

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nbqnn_train.learn.training.page", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(TrainConfig(**OPTIONS), out)
    assert not (out / "pictures.html").exists()
    result = train(TrainConfig(**OPTIONS), out, resume=True)
    assert_same_weights(finished, out)
    assert result["accuracy"] == TrainingResult.read(finished / "result.json").accuracy
    assert (out / "course.json").read_bytes() == (finished / "course.json").read_bytes()
    assert (out / "pictures.html").is_file()
    assert read_metrics(out / "csv") == read_metrics(finished / "csv")


def test_existing_folders_are_left_alone(finished, tmp_path):
    before = sorted(finished.rglob("*"))
    with pytest.raises(NbqnnError, match="Run must be a new or empty folder"):
        train(TrainConfig(**OPTIONS), finished)
    assert sorted(finished.rglob("*")) == before
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(NbqnnError, match="Run must be a new or empty folder"):
        train(TrainConfig(**OPTIONS), file)
    assert file.read_text() == "mine"


def test_a_folder_in_which_another_process_trains(tmp_path):
    """Started at the same moment, or resumed meanwhile."""
    out = tmp_path / "run"
    out.mkdir()
    holder = (
        "import fcntl, os, sys\n"
        "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)\n"
        "print(flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-c", holder, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(
            NbqnnError, match=r"^Run '.*' is being trained by another process; stop"
        ):
            train(TrainConfig(**OPTIONS), out)
        assert not any(out.iterdir())
        other.kill()
    train(TrainConfig(**OPTIONS | {"epochs": 1}), out)
    assert (out / "result.json").is_file()


def test_resuming_nothing(tmp_path):
    with pytest.raises(NbqnnError, match=r"Run to resume must be a folder with config\.toml"):
        train(TrainConfig(**OPTIONS), tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()


def test_resuming_with_other_options(finished):
    with pytest.raises(NbqnnError, match=r"was started with epochs 6, not 7$"):
        train(TrainConfig(**OPTIONS | {"epochs": 7}), finished, resume=True)


def test_divergence(tmp_path):
    config = TrainConfig(**OPTIONS | {"lr": 1e30, "optimizer": "sgd"})
    message = (
        r"^Training must not diverge: the loss is (nan|inf) in epoch 0, after step 1; a smaller"
    )
    with pytest.raises(NbqnnError, match=message):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize(("correct", "guesses"), [(0, True), (47, True), (48, False), (360, False)])
def test_a_network_that_only_guesses_is_said_to(correct, guesses, tmp_path, monkeypatch):
    """Of 360 images with 10 classes, 36 are guessed; the standard deviation is 5.69."""
    monkeypatch.setattr("nbqnn_train.learn.training.count_correct", lambda *_: correct)
    notes = train(TrainConfig(**OPTIONS | {"epochs": 1}), tmp_path / "run").notes
    assert [note for note in notes if "what guessing one of 10 classes gives" in note] == (
        [notes[-1]] if guesses else []
    )


def test_a_loss_that_is_not_finite_before_the_first_step(tmp_path, monkeypatch):
    """No learning rate is at fault then."""
    loss = QuantizedTrainingModule._loss
    monkeypatch.setattr(QuantizedTrainingModule, "_loss", lambda *args: loss(*args) * float("inf"))
    with pytest.raises(NbqnnError) as caught:
        train(TrainConfig(**OPTIONS), tmp_path / "run")
    assert str(caught.value) == (
        "Loss must be finite before the first step, not inf: nothing was learned yet, so the "
        "weights that training begins with, the images or the precision give it"
    )


def test_evaluating_nothing(tmp_path):
    with pytest.raises(NbqnnError, match="Run or graph must exist"):
        evaluate(tmp_path / "none", "digits")


def test_images_of_another_size(finished, tmp_path):
    config = TrainConfig(model="lenet5", data="digits")
    with pytest.raises(NbqnnError, match=r"^Model 'lenet5' must fit images of shape \(1, 8, 8\): "):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "large.py").write_text(
        "import numpy as np\n"
        "from nbqnn_train.data import DataSets, ImageSet\n"
        "one = np.ones(1, np.float32)\n"
        "part = ImageSet(np.zeros((2, 1, 9, 9), np.uint8), np.zeros(2, np.int64), one, one)\n"
        "def data(folder):\n    return DataSets('large', part, part, (1, 9, 9), 10)\n"
    )
    graph = tmp_path / "graph.nbqnn"
    save(export_run(finished), graph)
    sys.path.insert(0, str(tmp_path))
    try:
        for path in (finished, graph):
            message = r"^Images must have shape \(1, 8, 8\), not \(1, 9, 9\)$"
            with pytest.raises(NbqnnError, match=message):
                evaluate(path, "large:data")
    finally:
        sys.path.remove(str(tmp_path))


def test_an_unfinished_run(finished, tmp_path):
    (tmp_path / "config.toml").write_bytes((finished / "config.toml").read_bytes())
    with pytest.raises(NbqnnError, match=r"Run must be finished \(have weights\.safetensors\)"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    "network",
    [
        "network = 1",
        "network = { classes = 10 }",
        "network = { classes = 10, input_shape = [] }",
        'network = { classes = 10, input_shape = [1, "8", 8] }',
        "network = { classes = 10, input_shape = [1, 8.5, 8] }",
        "network = { classes = 10, input_shape = [0, 8, 8] }",
        "network = { classes = 0, input_shape = [1, 8, 8] }",
    ],
)
def test_a_run_that_does_not_say_what_its_network_takes(tmp_path, network):
    file = tmp_path / "config.toml"
    file.write_text(f'{network}\n[train]\nmodel = "digits"\ndata = "digits"\n')
    with pytest.raises(NbqnnError) as refused:
        read_run(tmp_path)
    assert str(refused.value) == (
        f"{file} must give classes and input_shape under [network], as positive integers"
    )


def test_a_damaged_run(finished, tmp_path):
    (tmp_path / "config.toml").write_bytes((finished / "config.toml").read_bytes())
    whole = (finished / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NbqnnError, match="must be a safetensors file"):
        load_run(tmp_path)


def test_keys_that_do_not_match(tmp_path):
    state = {f"other.{k}": torch.zeros(1) for k in range(5)}
    with pytest.raises(NbqnnError) as caught:
        load_state(nn.Linear(2, 2), state, Path("w.safetensors"))
    assert str(caught.value) == (
        "w.safetensors must hold the weights of this network: missing weight, bias; "
        "not of this network other.0, other.1, other.2 and 2 more"
    )


def test_shapes_that_do_not_match():
    state = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}
    with pytest.raises(NbqnnError, match=r"weight must have shape \(2, 2\), not \(2, 3\)"):
        load_state(nn.Linear(2, 2), state, Path("w.safetensors"))


def test_weights_that_are_no_numbers_are_refused_by_name():
    state = nn.Linear(2, 2).state_dict() | {"bias": torch.tensor([0.0, float("nan")])}
    with pytest.raises(
        NbqnnError, match=r"^w\.safetensors: bias must be finite, not nan at \[1\]$"
    ):
        load_state(nn.Linear(2, 2), state, Path("w.safetensors"))


class Opens:
    """Pickled, this writes a file when it is loaded carelessly."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickles_that_run_code_are_refused(tmp_path):
    file = tmp_path / "evil.pth"
    torch.save({"weight": Opens(tmp_path / "ran")}, file)
    with pytest.raises(NbqnnError, match="must hold named tensors and nothing else"):
        read_weights(file)
    assert not (tmp_path / "ran").exists()


def test_weight_files(tmp_path):
    state = {"weight": torch.rand(2, 2)}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        assert torch.equal(read_weights(tmp_path / name)["weight"], state["weight"])
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(NbqnnError, match="must hold named tensors, not list"):
        read_weights(tmp_path / "list.pt")
    with pytest.raises(NbqnnError, match=r"^Weights must be a \.safetensors file, or one of"):
        read_weights(tmp_path / "w.h5")
    with pytest.raises(NbqnnError, match=r"^Weights .* cannot be read: there is no such"):
        read_weights(tmp_path / "none.pth")
    for content in (b"abc", b"<html>404</html>", b""):
        (tmp_path / "text.pth").write_bytes(content)
        with pytest.raises(NbqnnError, match=r"and nothing else: torch\.save did not write it"):
            read_weights(tmp_path / "text.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "w.pth").read_bytes()[:-100])
    with pytest.raises(NbqnnError, match="and nothing else: it is cut off or damaged"):
        read_weights(tmp_path / "cut.pth")


@pytest.mark.parametrize(
    "name", ["w.PTH", "w.th", "lightning.ckpt", "pytorch_model.bin", "w.pth.tar"]
)
@pytest.mark.parametrize("place", ["net", "weights", "state_dict_ema"])
def test_checkpoints_hold_more_than_weights(name, place, tmp_path):
    state = {"weight": torch.rand(2, 2)}
    beside = {
        "epoch": 3,
        "accuracy": np.float64(91.2),
        "losses": np.arange(3.0),
        "options": argparse.Namespace(lr=0.1),
    }
    torch.save({place: state, **beside}, tmp_path / name)
    assert torch.equal(read_weights(tmp_path / name)["weight"], state["weight"])


@pytest.mark.parametrize(
    "named",
    [
        "module.{}".format,
        "_orig_mod.{}".format,
        "module._orig_mod.{}".format,
        "model.{}".format,
        "net.module.{}".format,
        "net.model.{}".format,
        lambda name: name.replace(".", "._orig_mod."),
    ],
)
def test_names_of_wrappers_are_left_out(named):
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 3)))
    state = {name: torch.rand_like(value) for name, value in module.state_dict().items()}
    load_state(module, {named(name): value for name, value in state.items()}, Path("w.pth"))
    for name, value in module.state_dict().items():
        assert torch.equal(value, state[name])


def test_what_else_holds_the_network_is_left_out():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    own = {name: torch.rand(value.shape) for name, value in module.state_dict().items()}
    state = {f"model.{name}": value for name, value in own.items() if "tracked" not in name}
    load_state(module, state | {"loss.weight": torch.rand(2)}, Path("w.ckpt"))
    assert torch.equal(module[0].weight, own["0.weight"])
    twice = state | {name.replace("model", "ema"): value for name, value in state.items()}
    with pytest.raises(NbqnnError, match=r"this network once, not under 'model' and 'ema'"):
        load_state(module, twice, Path("w.ckpt"))
    with pytest.raises(NbqnnError, match=r"not of this network extra$"):
        load_state(module, state | {"model.extra": torch.rand(2)}, Path("w.ckpt"))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (lambda w: (100 * w).int(), r"weight must hold real numbers, not torch\.int32"),
        (lambda w: w.to(torch.complex64), r"weight must hold real numbers, not torch\.complex64"),
        (lambda w: w.to_sparse(), r"weight must be dense, not torch\.sparse_coo"),
    ],
)
def test_weights_that_are_no_real_numbers_are_refused(changed, reason):
    module = nn.Linear(2, 2)
    state = module.state_dict() | {"weight": changed(module.weight.detach())}
    with pytest.raises(NbqnnError, match=reason):
        load_state(module, state, Path("w.pth"))


def test_a_part_called_like_a_wrapper_keeps_its_name():
    module = nn.ModuleDict({"module": nn.Linear(2, 2)})
    state = {name: torch.rand_like(value) for name, value in module.state_dict().items()}
    load_state(module, state, Path("w.pth"))
    assert torch.equal(module["module"].weight, state["module.weight"])


def test_accumulated_gradients_and_bfloat16(tmp_path):
    options = OPTIONS | {"epochs": 3, "accumulate": 4, "precision": "bf16-mixed"}
    result = train(TrainConfig(**options), tmp_path / "run")
    assert result["accuracy"] > 0.3
    assert evaluate(tmp_path / "run", "digits").accuracy == result["accuracy"]
    (metrics,) = (tmp_path / "run").glob("csv/*/metrics.csv")
    # 11 batches are 3 steps, the last one of 3 batches; 3 epochs are 9 steps.
    assert load_run(tmp_path / "run").calibrated
    assert max(int(row.split(",")[-1]) for row in metrics.read_text().splitlines()[1:]) == 8


@pytest.fixture
def digits_weights(tmp_path) -> Path:
    """Full-precision weights of the digits network; any do."""
    torch.manual_seed(3)
    path = tmp_path / "digits.safetensors"
    save_file(build_model("digits", 10, 1).state_dict(), path)
    return path


def test_beginning_with_weights(digits_weights, tmp_path):
    options = OPTIONS | {"epochs": 1, "lr": 1e-4, "pretrained": digits_weights, "start": "real"}
    config = TrainConfig(**options)
    assert config.recipe().warmup == 0  # quantized from the first step
    train(config, tmp_path / "run")
    before = load_file(digits_weights)["features.0.weight"]
    after = weights(tmp_path / "run")["ops.features_0.weight"]
    assert 0 < (after - before).abs().max() < 0.1


def test_a_short_training_begins_with_rounded_weights(digits_weights, tmp_path):
    """Steps of no size leave what ``quantize`` makes of the training's first images."""
    options = OPTIONS | {"epochs": 1, "lr": 1e-30, "pretrained": digits_weights, "seed": 4}
    train(TrainConfig(**options), tmp_path / "run")
    data = load_data("digits")
    first = np.random.default_rng((4, 0)).permutation(len(data.train))[:1024]
    inputs = torch.from_numpy(data.train.images(first))
    module = float_network("digits", 10, 1, digits_weights)
    rounded = quantize(module, [inputs], QuantConfig(weight_bits=3, act_bits=8), seed=4)
    state = weights(tmp_path / "run")
    assert state.keys() == rounded.state_dict().keys()
    for name, tensor in rounded.state_dict().items():
        assert torch.allclose(state[name], tensor, rtol=0, atol=1e-20), name


class Shared(nn.Module):
    """A layer that is used twice, and layers with neither bias nor batch norm."""

    def __init__(self, classes: int, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, 8, 3, 2, bias=False)
        self.twice = nn.Conv2d(8, 8, 3, 1, 1, bias=False)
        self.last = nn.Linear(72, classes, bias=False)

    def forward(self, x):
        x = torch.relu(self.twice(torch.relu(self.first(x))))
        return self.last(torch.relu(self.twice(x)).flatten(1))


def test_what_was_rounded_first_is_resumed_and_loaded(tmp_path, monkeypatch):
    """Each use of a layer has weights of its own then, and each layer an offset."""
    monkeypatch.setitem(MODELS, "shared", Shared)
    torch.manual_seed(5)
    save_file(Shared(10, 1).state_dict(), tmp_path / "w.safetensors")
    changes = {"model": "shared", "epochs": 2, "pretrained": tmp_path / "w.safetensors"}
    config = TrainConfig(**OPTIONS | changes)
    result = train(config, tmp_path / "whole")
    interrupted_before(13, config, tmp_path / "parts", monkeypatch)
    train(config, tmp_path / "parts", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    assert evaluate(tmp_path / "whole", "digits").accuracy == result["accuracy"]
    state = weights(tmp_path / "whole")
    assert not torch.equal(state["ops.twice.weight"], state["ops.twice_1.weight"])


def test_a_teacher_takes_part(digits_weights, tmp_path):
    options = OPTIONS | {"epochs": 1, "lr": 1e-4, "pretrained": digits_weights}
    runs = {}
    for name, teacher in (("alone", None), ("taught", digits_weights)):
        train(TrainConfig(**options, teacher=teacher), tmp_path / name)
        runs[name] = weights(tmp_path / name)["ops.classifier.weight"]
    assert not torch.equal(runs["alone"], runs["taught"])


@pytest.mark.parametrize("share", [0.7, 1.0])
def test_labels_count_for_what_the_teacher_leaves(digits_weights, tmp_path, monkeypatch, share):
    options = OPTIONS | {"epochs": 1, "lr": 1e-4, "pretrained": digits_weights}
    taught = TrainConfig(**options, teacher=digits_weights, teacher_weight=share)
    train(taught, tmp_path / "right")
    digits = load_data("digits")
    digits.train.labels[:] = (digits.train.labels + 1) % 10
    monkeypatch.setattr("nbqnn_train.learn.training.load_data", lambda *_: digits)
    train(taught, tmp_path / "wrong")
    right, wrong = (weights(tmp_path / name) for name in ("right", "wrong"))
    same = all(torch.equal(right[name], wrong[name]) for name in right)
    assert same == (share == 1)


def test_a_teacher_of_another_kind(tmp_path):
    path = tmp_path / "teacher.safetensors"
    teacher = build_model("nbq_small", 10, 1)
    save_file(teacher.state_dict(), path)
    options = OPTIONS | {"epochs": 1, "teacher": path}
    with pytest.raises(NbqnnError, match="must hold the weights of this network: missing "):
        train(TrainConfig(**options), tmp_path / "run")
    assert train(TrainConfig(**options, teacher_model="nbq_small"), tmp_path / "run")


def test_weights_of_another_network(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file(build_model("lenet5", 10, 1).state_dict(), path)
    for name in ("pretrained", "teacher"):
        with pytest.raises(NbqnnError, match="must hold the weights of this network: missing "):
            train(TrainConfig(**OPTIONS | {name: path}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
