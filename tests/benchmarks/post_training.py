"""A network like MobileNetV2 on Fashion-MNIST: trained in float, then quantized without labels.

    python -m tests.benchmarks.post_training DATA

DATA is the folder of Fashion-MNIST. Each line has the error of the 10,000 test images, and how much
more that is than in float. About five minutes of processor time.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from nbqnn_train.convert import QuantConfig
from nbqnn_train.data import load_data
from nbqnn_train.quantize import quantize

_EPOCHS, _BATCH, _TRAINED, _IMAGES = 3, 128, 55_000, 512


def norm_conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(outputs)


class InvertedResidual(nn.Module):
    """Expansion to four times the channels, depthwise convolution, projection."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        wide = 4 * inputs
        self.layers = nn.Sequential(
            *norm_conv(inputs, wide, 1),
            nn.ReLU6(),
            *norm_conv(wide, wide, 3, stride, wide),
            nn.ReLU6(),
            *norm_conv(wide, outputs, 1),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.layers(x) if self.shortcut else self.layers(x)


def network() -> nn.Module:
    blocks = ((16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1))
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)
    first, last = norm_conv(1, 16, 3, 2), norm_conv(32, 128, 1)
    body = [InvertedResidual(*sizes) for sizes in blocks]
    return nn.Sequential(*first, nn.ReLU6(), *body, *last, nn.ReLU6(), *head)


def train(module: nn.Module, images, numbers: np.ndarray) -> None:
    labels = torch.from_numpy(np.asarray(images.labels)).long()
    steps = _EPOCHS * (len(numbers) // _BATCH)
    optimizer = torch.optim.SGD(
        module.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=steps + 1)
    module.train()
    for epoch in range(_EPOCHS):
        order = np.random.default_rng(epoch + 1).permutation(numbers)
        for at in range(0, len(order) - _BATCH + 1, _BATCH):
            chosen = order[at : at + _BATCH]
            loss = F.cross_entropy(module(torch.from_numpy(images.images(chosen))), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {_EPOCHS}", file=sys.stderr)


@torch.no_grad()
def error(module: nn.Module, images) -> float:
    """In percent."""
    module.eval()
    wrong = 0
    for at in range(0, len(images), 500):
        numbers = np.arange(at, at + 500)
        found = module(torch.from_numpy(images.images(numbers))).argmax(1).numpy()
        wrong += int((found != np.asarray(images.labels)[numbers]).sum())
    return 100 * wrong / len(images)


def main(folder: Path) -> None:
    torch.manual_seed(0)
    data = load_data("fashion-mnist", folder)
    order = np.random.default_rng(0).permutation(len(data.train))
    module = network()
    train(module, data.train, order[:_TRAINED])
    full = error(module, data.test)
    print(f"float          {full:.2f} %")
    unseen = order[_TRAINED : _TRAINED + _IMAGES]
    inputs = torch.from_numpy(data.train.images(unseen))
    for bits in (3, 4):
        for mode in ("shift", "scale"):
            start = time.process_time()
            config = QuantConfig(weight_bits=bits, act_bits=8, requant_mode=mode)
            quantized = quantize(module, [inputs], config)
            seconds = time.process_time() - start
            found = error(quantized, data.test)
            print(f"{bits} bits, {mode}  {found:.2f} %, {found - full:+.2f}, {seconds:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
