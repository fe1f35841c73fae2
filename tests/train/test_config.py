"""Options of a training."""

from pathlib import Path

import pytest

from nbqnn_train.config import TrainConfig, config_toml, read_config
from nbqnn_train.graph.errors import NbqnnError


def config(**options) -> TrainConfig:
    return TrainConfig(**({"model": "digits", "data": "digits"} | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "nope"}, r"^Model must be one of .*digits.*, not 'nope'$"),
        ({"data": "nope"}, r"^Data set must be one of .*digits.*, not 'nope'$"),
        ({"bits": 7}, r"^Weight bits must be in 2\.\.6, not 7$"),
        ({"act_bits": 1}, r"^Activation bits must be in 2\.\.16, not 1$"),
        ({"epochs": 0}, r"^Epochs must be at least 1, not 0$"),
        ({"batch_size": -1}, r"^Batch size must be at least 1, not -1$"),
        ({"lr": 0.0}, r"^Learning rate must be positive, not 0\.0$"),
        ({"lr": float("nan")}, r"^Learning rate must be positive, not nan$"),
        ({"weight_decay": -0.1}, r"^Weight decay must not be negative, not -0\.1$"),
        ({"optimizer": "x"}, r"^Optimizer must be one of adam, sgd, not 'x'$"),
        ({"precision": "8"}, r"^Precision must be one of 32, bf16-mixed, 16-mixed, not '8'$"),
        ({"accumulate": 0}, r"^Accumulate must be at least 1, not 0$"),
        ({"seed": -1}, r"^Seed must be in 0\.\.4294967295, not -1$"),
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


def test_file_and_back(tmp_path):
    before = config(lr=1e-3, seed=7, pretrained=Path('a "b"\\c.pth'), data_dir=tmp_path)
    file = tmp_path / "config.toml"
    file.write_text("[train]\n" + config_toml(before))
    assert read_config(file) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train", "must be the configuration of a run"),
        ("", "must be the configuration of a run"),
        ('[train]\nmodel = "digits"', "must be the configuration of a run"),
        ('[train]\nmodel = "digits"\ndata = "digits"\nx = 1', "option must be one of .* not 'x'"),
        ('[train]\nmodel = "x"\ndata = "digits"', "Model must be one of"),
    ],
)
def test_bad_files(tmp_path, text, message):
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(NbqnnError, match=message):
        read_config(file)
