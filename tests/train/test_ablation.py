"""The comparison of estimators: every cell trained once, the table says what the runs found."""

import json
import re
import statistics

import pytest
import torch
from safetensors.torch import save_file

from nbqnn_train.models import build_model
from scripts.ablation import Cell, main, table
from tests.hw.tools.pieces import small_cluster


@pytest.fixture
def configuration(tmp_path):
    torch.manual_seed(3)
    save_file(build_model("digits", 10, 1).state_dict(), tmp_path / "w.safetensors")
    file = tmp_path / "base.toml"
    file.write_text(
        '[train]\nmodel = "digits"\ndata = "digits"\nepochs = 1\ntrain_images = 128\n'
        f'pretrained = "{tmp_path}/w.safetensors"\nteacher = "{tmp_path}/w.safetensors"\n'
        'teacher_model = "digits"\n'
    )
    return file


def test_every_cell_is_trained_once(configuration, tmp_path, capfd):
    out = tmp_path / "out"
    arguments = ["--config", str(configuration), "--out", str(out), "--seeds", "2"]
    arguments += ["--estimators", "ste,reconstructed"]
    assert main([*arguments, "--dry"]) == 0
    assert "8 of 8 trainings to do, 4 steps each at " in capfd.readouterr().out
    assert not out.exists()
    assert main(arguments) == 0
    printed = capfd.readouterr().out
    found = json.loads((out / "table.json").read_text())["cells"]
    assert len(found) == 4
    for cell in found:
        name = f"{cell['estimator']}-{'taught' if cell['teacher'] else 'alone'}-seed"
        runs = [json.loads((out / f"{name}{seed}" / "result.json").read_text()) for seed in (0, 1)]
        errors = [100 * (1 - run["accuracy"]) for run in runs]
        assert cell["errors"] == pytest.approx(errors, abs=1e-3)
        text = f"{statistics.mean(errors):.2f} ± {statistics.stdev(errors):.2f}"
        assert text in (out / "table.md").read_text()
        assert text in printed
    before = {path: path.stat().st_mtime_ns for path in out.rglob("result.json")}
    assert main(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("result.json")} == before


def test_on_a_cluster_the_same_is_trained(configuration, tmp_path, capfd):
    """Estimators with one seed, here and by a worker, which goes on where a training was begun."""
    common = ["--config", str(configuration), "--seeds", "1", "--estimators", "ste"]
    assert main([*common, "--out", str(tmp_path / "here")]) == 0
    with small_cluster(1, 2) as own:
        capfd.readouterr()
        arguments = ["--out", str(tmp_path / "there"), "--cluster", own.scheduler_address]
        assert main([*common, *arguments]) == 0
    assert "2/2 ste-" in capfd.readouterr().err
    here, there = (
        json.loads((tmp_path / folder / "table.json").read_text()) for folder in ("here", "there")
    )
    assert here == there
    for run in ("ste-alone-seed0", "ste-taught-seed0"):
        weights = [
            (tmp_path / folder / run / "weights.safetensors").read_bytes()
            for folder in ("here", "there")
        ]
        assert weights[0] == weights[1]


def test_table():
    cells = [
        Cell(estimator="a", teacher=False, errors=(1.0, 2.0)),
        Cell(estimator="a", teacher=True, errors=(3.0, 3.0)),
    ]
    assert table(cells, 2).splitlines()[2] == "| a | 1.50 ± 0.71 | 3.00 ± 0.00 |"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("teacher", "other"), r"option must be one of .*, not 'other'"),
        (("digits", "digit"), "Model must be one of"),
    ],
)
def test_bad_configuration(configuration, tmp_path, capfd, change, message):
    configuration.write_text(configuration.read_text().replace(*change))
    assert main(["--config", str(configuration), "--out", str(tmp_path / "out")]) == 2
    err = capfd.readouterr().err
    assert re.match(rf"ablation: error: .*{message}", err)
    assert err.count("\n") == 1
