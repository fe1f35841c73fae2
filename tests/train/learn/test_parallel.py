"""Several processes: the same result as one, and every file written once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from nbqnn_train.data import load_data
from nbqnn_train.data.batches import ordered_loader, train_loader
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.batch_norm import synchronize_batch_norm
from nbqnn_train.learn.config import TrainConfig
from nbqnn_train.learn.networks import float_network, quantized_network
from nbqnn_train.learn.training import train
from tests.train.test_data_files import write_cifar10

SCRIPT = """
import json, sys
from pathlib import Path
from nbqnn_train.learn.config import TrainConfig
from nbqnn_train.learn.training import train
if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    result = train(TrainConfig(**options, accelerator="cpu", devices=2), Path(sys.argv[1]))
    print("result" if result else "none")
"""
OPTIONS = {"model": "digits", "data": "digits", "batch_size": 64, "epochs": 1}
#: Of what a training changes. Noise of rounding, 1e-6, can take a value to the other side of a
#: ReLU; half the batch, or its own batch-norm statistics, change several hundredths.
NOISE = 5e-3


def two_processes(tmp_path: Path, out: Path, options: dict) -> list[str]:
    """Trains with two processes on the CPU; the lines that they print."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_PORT")
    }
    done = subprocess.run(
        [sys.executable, script, out, json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment | {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def beginning(config: TrainConfig) -> dict[str, torch.Tensor]:
    """Parameters and buffers that a training starts with."""
    torch.manual_seed(config.seed)
    if config.full_precision:
        return float_network(config.model, 10, 1, None).state_dict()
    return quantized_network(config, 10, (1, 8, 8), None).state_dict()


@pytest.mark.parametrize(
    "options",
    [
        # All phases of a quantized training, in few steps: one weight that rounds otherwise changes
        # what follows by more than noise.
        {"train_images": 192, "lr": 1e-3, "optimizer": "sgd"},
        {"full_precision": True, "validation": 100, "lr": 1e-3, "optimizer": "sgd"},
    ],
    ids=["quantized", "full precision"],
)
def test_two_processes_give_what_one_gives(tmp_path, options):
    options = OPTIONS | options
    config = TrainConfig(**options)
    one = train(config, tmp_path / "one")
    printed = two_processes(tmp_path, tmp_path / "two", options)
    assert sorted(line for line in printed if line in ("none", "result")) == ["none", "result"]
    two = json.loads((tmp_path / "two" / "result.json").read_text())
    assert two["accuracy"] == pytest.approx(one["accuracy"], abs=NOISE)
    first, second = (load_file(tmp_path / run / "weights.safetensors") for run in ("one", "two"))
    begun = beginning(config)
    for name, tensor in first.items():
        if tensor.dtype.is_floating_point:
            moved = (tensor - begun[name]).norm()
            assert (second[name] - tensor).norm() <= NOISE * moved + 1e-6, name
        else:
            assert torch.equal(second[name], tensor), name
    for pattern in ("csv/version_*", "tensorboard/version_*"):
        assert len(list((tmp_path / "two").glob(pattern))) == 1


def test_shares_make_up_the_batch_with_its_augmentation(tmp_path):
    rng = np.random.default_rng(0)
    write_cifar10(tmp_path, rng.integers(0, 256, (3, 3072), np.uint8))
    data = load_data("cifar10", tmp_path)
    for loader in (train_loader, ordered_loader):
        options = {"seed": 1, "margin": 4} if loader is train_loader else {}
        (whole, *_) = loader(data.train, 6, **options)
        parts = [next(iter(loader(data.train, 6, rank=r, world=2, **options))) for r in range(2)]
        for index in range(2):
            joined = torch.empty_like(whole[index])
            joined[0::2], joined[1::2] = parts[0][index], parts[1][index]
            assert torch.equal(joined, whole[index])


def test_a_batch_must_have_a_share_for_each(tmp_path):
    config = TrainConfig(**OPTIONS | {"batch_size": 63}, accelerator="cpu", devices=2)
    with pytest.raises(NbqnnError, match=r"^Batch size must be a multiple of 2 processes, not 63$"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(tmp_path):
    config = TrainConfig(**OPTIONS, accelerator="gpu")
    with pytest.raises(NbqnnError, match=r"^Devices must be there: .*gpu"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_process_keeps_pytorchs_batch_norm():
    """Alone, outputs, statistics and names are those of the plain class, to the bit."""
    plain, changed = (nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3)) for _ in range(2))
    synchronize_batch_norm(changed)
    assert type(changed[0]) is not nn.BatchNorm2d
    assert isinstance(changed[0], nn.BatchNorm2d)
    images = torch.rand(4, 3, 5, 5)
    assert torch.equal(plain(images), changed(images))
    first, second = plain.state_dict(), changed.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
