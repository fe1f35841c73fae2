"""Bad input of ``nbqnn train``: one line that names the thing, exit code 2, nothing written."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from nbqnn_train.models import build_model
from scripts.cli import main
from tests.train.test_data_files import batch, idx, write_cifar10

DIGITS = ("--model", "digits", "--data", "digits")


def weights_of_another_network(folder):
    save_file(build_model("lenet5", 10, 1).state_dict(), folder / "w.safetensors")


def weights_with_nan(folder):
    state = build_model("digits", 10, 1).state_dict()
    state["classifier.bias"][4] = float("nan")
    save_file(state, folder / "w.safetensors")


def pickle(folder):
    torch.save({"weight": print}, folder / "w.pth")


def images_of_another_size(folder):
    write_cifar10(folder, np.zeros((3, 3072), np.uint8))


def labels_out_of_range(folder):
    images_of_another_size(folder)
    (folder / "test_batch").write_bytes(batch(np.zeros((1, 3072), np.uint8), [10]))


def corrupt_batch(folder):
    images_of_another_size(folder)
    whole = (folder / "data_batch_3").read_bytes()
    (folder / "data_batch_3").write_bytes(whole[:5000])


def corrupt_idx(folder):
    for name, array in (
        ("train-images-idx3-ubyte", np.zeros((6, 28, 28), np.uint8)),
        ("train-labels-idx1-ubyte", np.zeros(6, np.uint8)),
    ):
        (folder / name).write_bytes(idx(array)[:-2])


def empty_class(folder):
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
    Image.new("RGB", (300, 300)).save(folder / "train" / "cat" / "0.png")


def configuration(text: str):
    def write(folder):
        (folder / "c.toml").write_text(text)

    return write


def no_layer(folder):
    configuration('[train.overrides."conv9.*"]\nweight_bits = 4\n')(folder)


@pytest.mark.parametrize(
    ("prepare", "arguments", "message"),
    [
        (
            weights_of_another_network,
            (*DIGITS, "--pretrained", "w.safetensors"),
            r"w\.safetensors must hold the weights of this network: missing features\.1\.weight, "
            r"features\.1\.bias, features\.1\.running_mean and \d+ more; not of this network "
            r"\S+, \S+, \S+ and \d+ more",
        ),
        (
            weights_with_nan,
            (*DIGITS, "--teacher", "w.safetensors"),
            r"w\.safetensors: classifier\.bias must be finite, not nan at \[4\]",
        ),
        (
            pickle,
            (*DIGITS, "--pretrained", "w.pth"),
            r"w\.pth must hold named tensors and nothing else: .*",
        ),
        (
            images_of_another_size,
            ("--model", "lenet5", "--data", "cifar10", "--data-dir", "."),
            r"Model 'lenet5' must fit images of shape \(3, 32, 32\): .*",
        ),
        (
            labels_out_of_range,
            ("--model", "resnet20", "--data", "cifar10", "--data-dir", "."),
            r"Data set 'cifar10': test labels must be in 0\.\.9, not 10",
        ),
        (
            corrupt_batch,
            ("--model", "resnet20", "--data", "cifar10", "--data-dir", "."),
            r"data_batch_3 must be a CIFAR batch: .*",
        ),
        (
            corrupt_idx,
            ("--model", "lenet5", "--data", "mnist", "--data-dir", "."),
            r"train-images-idx3-ubyte must hold 4704 bytes .*, not 4702.*",
        ),
        (
            empty_class,
            ("--model", "resnet18", "--data", "folder", "--data-dir", "."),
            r"Image folder must hold images, unlike 'train/dog'.*",
        ),
        (None, (*DIGITS, "--bits", "7"), r"Weight bits must be in 2\.\.6, not 7"),
        (None, (*DIGITS, "--act-bits", "17"), r"Activation bits must be in 2\.\.16, not 17"),
        (
            no_layer,
            (*DIGITS, "--config", "c.toml"),
            r"Override 'conv9\.\*' must match a layer: one of features\.0, .*",
        ),
        (None, (*DIGITS, "--patience", "3"), r"Validation images must be held out .*, not 0"),
        (
            None,
            (*DIGITS, "--validation", "1437"),
            r"Data set 'digits' must have 1438 training images .*, not 1437",
        ),
        (None, ("--data", "digits"), r"Model must be given, as --model or in a configuration"),
        (None, (*DIGITS, "--config", "gone.toml"), r"gone\.toml must be a configuration: .*"),
        (
            configuration("[train]\nbits = 3\nlearning = 1\n"),
            (*DIGITS, "--config", "c.toml"),
            r"c\.toml: option must be one of accelerator, .*, not 'learning'",
        ),
        (
            configuration("[train]\nbits = '3'\n"),
            (*DIGITS, "--config", "c.toml"),
            r"Bits must be an integer, not '3' \(with c\.toml\)",
        ),
    ],
)
def test_refused(tmp_path, monkeypatch, capfd, prepare, arguments, message):
    monkeypatch.chdir(tmp_path)
    if prepare is not None:
        prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    capfd.readouterr()
    assert main(["train", "--out", "run", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(rf"nbqnn: error: {message}\n", err), err
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def cut(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])


def of_one_group(checkpoint):
    """As versions wrote it in which gamma was one of the others."""
    state = torch.load(checkpoint, weights_only=True)
    groups = state["optimizer_states"][0]["param_groups"]
    groups[:] = [groups[0] | {"params": [p for group in groups for p in group["params"]]}]
    torch.save(state, checkpoint)


def of_other_names(checkpoint):
    state = torch.load(checkpoint, weights_only=True)
    state["state_dict"] = {"old." + name: value for name, value in state["state_dict"].items()}
    torch.save(state, checkpoint)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "this run: .*"),
        (lambda checkpoint: torch.save({}, checkpoint), "this run: 'state_dict'"),
        (
            of_one_group,
            r"this version of nbqnn, with \[.*\] parameters .* and the same names, not \[11\]",
        ),
        (of_other_names, "this version of nbqnn, with .*"),
    ],
)
def test_a_damaged_checkpoint(tmp_path, monkeypatch, capfd, damage, message):
    monkeypatch.chdir(tmp_path)
    arguments = ["train", *DIGITS, "--out", "run", "--epochs", "1", "--train-images", "64"]
    assert main(arguments) == 0
    (tmp_path / "run" / "result.json").unlink()
    damage(tmp_path / "run" / "last.ckpt")
    capfd.readouterr()
    assert main([*arguments, "--resume"]) == 2
    err = capfd.readouterr().err
    assert re.fullmatch(rf"nbqnn: error: run/last\.ckpt must be a checkpoint of {message}\n", err)
