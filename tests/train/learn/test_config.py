"""Options of a training."""

from pathlib import Path

import pytest
import tomli_w

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.config import TrainConfig, config_table, read_config


def config(**options) -> TrainConfig:
    return TrainConfig(**({"model": "digits", "data": "digits"} | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "nope"}, r"^Model must be one of .*digits.*, not 'nope'$"),
        ({"data": "nope"}, r"^Data set must be one of .*digits.*, not 'nope'$"),
        ({"bits": 7}, r"^Weight bits must be in 2\.\.6, not 7$"),
        ({"act_bits": 1}, r"^Activation bits must be in 2\.\.16, not 1$"),
        ({"epochs": 0}, r"^Epochs must be in 1\.\.1000000, not 0$"),
        ({"batch_size": -1}, r"^Batch size must be in 1\.\.16777216, not -1$"),
        ({"lr": 0.0}, r"^Learning rate must be above 0 and at most 1e\+30, not 0\.0$"),
        ({"blend_power": 0.5}, r"^Blend power must be in 1\.\.16, not 0\.5$"),
        ({"lr": float("nan")}, r"^Learning rate must be above 0 and at most 1e\+30, not nan$"),
        ({"weight_decay": -0.1}, r"^Weight decay must be in 0\.\.1e\+06, not -0\.1$"),
        ({"warmup": 0.95}, r"^Warmup must be in 0\.\.0\.9, not 0\.95$"),
        ({"lr_rise": 0.95}, r"^Learning rate rise must be in 0\.\.0\.9, not 0\.95$"),
        ({"lr_fall": "x"}, r"^Learning rate fall must be one of cosine, linear, not 'x'$"),
        ({"label_smoothing": 1.0}, r"^Label smoothing must be in 0\.\.0\.99, not 1\.0$"),
        ({"weight_average": 1.0}, r"^Weight average must be in 0\.\.0\.99999, not 1\.0$"),
        ({"flips": "x"}, r"^Flips must be one of random, alternating, not 'x'$"),
        ({"optimizer": "x"}, r"^Optimizer must be one of adam, sgd, not 'x'$"),
        ({"precision": "8"}, r"^Precision must be one of 32, bf16-mixed, 16-mixed, not '8'$"),
        ({"accumulate": 0}, r"^Accumulate must be in 1\.\.16777216, not 0$"),
        ({"seed": -1}, r"^Seed must be in 0\.\.4294967295, not -1$"),
        ({"seed": True}, r"^Seed must be an integer, not True$"),
        ({"epochs": 10**20}, r"^Epochs must be in 1\.\.1000000, not 100000000000000000000$"),
        ({"epochs": 1.5}, r"^Epochs must be an integer, not 1\.5$"),
        ({"lr": "1"}, r"^Learning rate must be a number, not '1'$"),
        ({"teacher": 1}, r"^Teacher must be a path, not 1$"),
        ({"teacher_model": "lenet5"}, r"^Teacher's weights must be given for 'lenet5'$"),
        ({"teacher_model": "no"}, r"^Model must be one of .*, not 'no'$"),
        ({"clip_gradients": 0.0}, r"^Clip gradients must be above 0 and at most 1e\+30, not 0\.0$"),
        (
            {"clip_gradients": float("inf")},
            r"^Clip gradients must be above 0 and at most 1e\+30, not inf$",
        ),
        ({"teacher_weight": 0}, r"^Teacher weight must be above 0 and at most 1, not 0$"),
        ({"teacher_weight": 1.5}, r"^Teacher weight must be above 0 and at most 1, not 1\.5$"),
        ({"teacher_weight": float("nan")}, r"^Teacher weight must be above 0 .*, not nan$"),
        ({"full_precision": 1}, r"^Full precision must be true or false, not 1$"),
        ({"overrides": 1}, r"^Overrides must be a table, not 1$"),
        ({"overrides": {"*": 1}}, r"^Override of '\*' must be a table, not 1$"),
        ({"overrides": {"*": {"x": 1}}}, r"^Override of '\*' must set one of .*, not 'x'$"),
        ({"overrides": {"*": {"act_bits": 1}}}, r"^Activation bits must be in 2\.\.16, not 1$"),
        ({"estimator": "x"}, r"^Estimator must be one of reconstructed, .*, not 'x'$"),
        ({"requant_mode": "x"}, r"^Requantization mode must be shift or scale, not 'x'$"),
        ({"weight_exponents": "x"}, r"^Weight exponents must be per channel or tensor, not 'x'$"),
        ({"percentile": 101}, r"^Percentile must be in \(0, 100\], not 101$"),
        ({"train_images": 0}, r"^Train images must be in 1\.\.\d+, not 0$"),
        ({"validation": -1}, r"^Validation must be in 0\.\.\d+, not -1$"),
        ({"patience": 0, "validation": 9}, r"^Patience must be in 1\.\.1000000, not 0$"),
        ({"patience": 1}, r"^Validation images must be held out for patience, not 0$"),
        (
            {"patience": 1, "validation": 9, "weight_average": 0.5},
            r"^Weight average must be 0 with patience, not 0\.5: the weights of the best epoch",
        ),
        ({"accelerator": "x"}, r"^Accelerator must be one of auto, cpu, gpu, not 'x'$"),
        ({"devices": 0}, r"^Devices must be in 1\.\.4096, not 0$"),
        ({"nodes": 0}, r"^Nodes must be in 1\.\.4096, not 0$"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(NbqnnError, match=message):
        config(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data_dir": "missing"}, r"^Data folder must exist, not 'missing'$"),
        ({"pretrained": "missing.pth"}, r"^Pretrained weights must be a file, not 'missing.pth'$"),
        ({"teacher": "missing.pth"}, r"^Teacher weights must be a file, not 'missing.pth'$"),
    ],
)
def test_missing_files(options, message):
    with pytest.raises(NbqnnError, match=message):
        config(**options).check_files()


def test_recipe_takes_what_is_given():
    recipe = config(epochs=3, lr=0.5).recipe()
    assert (recipe.epochs, recipe.lr) == (3, 0.5)
    assert recipe.batch_size == config().recipe().batch_size


def test_short_fine_tuning_begins_with_rounded_weights():
    starts = [config(epochs=n, pretrained="w.pth").recipe().start for n in (1, 3, 4, None)]
    assert starts == ["rounded", "rounded", "real", "real"]
    assert config(epochs=1, pretrained="w.pth", start="real").recipe().start == "real"
    taught = {"pretrained": "w.pth", "teacher": "t.pth"}
    recipes = [config(epochs=n, **taught).recipe() for n in (1, 4)]
    assert [one.start for one in recipes] == ["rounded", "real"]
    assert [one.clip_gradients for one in recipes] == [5, 5]
    assert config(epochs=1, clip_gradients=2.0, **taught).recipe().clip_gradients == 2
    assert config(epochs=1, pretrained="w.pth").recipe().clip_gradients is None
    settles = [config(epochs=n, pretrained="w.pth").recipe().settle for n in (3, 4)]
    assert settles == [0.1, 0.2]
    assert config(epochs=9, pretrained="w.pth", start="rounded").recipe().settle == 0.1
    assert config(epochs=9).recipe().settle == 0.1
    assert config(epochs=1).recipe().start == "real"
    assert config(epochs=1, pretrained="w.pth", warmup=0.5).recipe().start == "real"
    with pytest.raises(NbqnnError, match=r"^Warm-up must be 0 where weights are rounded .*0\.5$"):
        config(epochs=9, pretrained="w.pth", start="rounded", warmup=0.5).recipe()
    with pytest.raises(NbqnnError, match=r"^Trained weights must be given where they are to be"):
        config(start="rounded").recipe()


def test_file_and_back(tmp_path):
    before = config(lr=1e-3, seed=7, pretrained=Path('a "b"\\c.pth'), data_dir=tmp_path)
    file = tmp_path / "config.toml"
    file.write_text(tomli_w.dumps({"train": config_table(before)}))
    assert read_config(file) == before
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert read_config(file) == before  # as Windows writes it


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train", "must be a configuration: Expected"),
        ("", r"must be a configuration: it has no table \[train\]$"),
        ("train = 3", r"must be a configuration: it has no table \[train\]$"),
        ("bits = 3", r"options must be in the table \[train\], not at 'bits'$"),
        ('[train]\nmodel = "digits"', "it names no model or no data"),
        (
            '[train]\nmodel = "digits"\ndata = "digits"\nbits = "3"',
            "Bits must be an integer, not '3'",
        ),
        ('[train]\nmodel = "digits"\ndata = "digits"\nx = 1', "option must be one of .* not 'x'"),
        ('[train]\nmodel = "x"\ndata = "digits"', "Model must be one of"),
    ],
)
def test_bad_files(tmp_path, text, message):
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(NbqnnError, match=message):
        read_config(file)
