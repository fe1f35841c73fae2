"""Segmentation and detection with 3 bits, on images that are drawn here; for the nightly run.

    NBQNN_NIGHTLY=1 python -m pytest -s tests/train/test_shapes.py

prints mean intersection over union in float and of the exported graph.
"""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbqnn_train.convert import QuantConfig
from nbqnn_train.export import export_graph
from nbqnn_train.graph import run
from nbqnn_train.learn.phases import Schedule
from nbqnn_train.quantize import quantize
from nbqnn_train.quantized_training import QuantizedTraining, parameter_groups
from tests.nightly import NIGHTLY

pytestmark = pytest.mark.skipif(not NIGHTLY, reason="trains for a minute; nightly run")

SIZE, KINDS, CELL = 32, 3, 4
TRAINED, TESTED, BATCH = 2048, 512, 32
#: How far below float the mean may be, in percent of a union.
LOSS = 2.0


def drawn(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images (N, 1, S, S), classes of pixels (N, S, S), 0 for none, and boxes (N, 4): x0, y0, x1,
    y1 in pixels. Each image has one square, disk or diamond on a noisy canvas."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    images = rng.normal(0, 0.3, (count, 1, SIZE, SIZE))
    masks, boxes = np.zeros((count, SIZE, SIZE), np.int64), np.zeros((count, 4))
    for n in range(count):
        radius = rng.integers(4, 9)
        y, x = rng.integers(radius, SIZE - radius, 2)
        down, right = rows - y, columns - x
        kind = rng.integers(KINDS)
        far = (
            np.maximum(abs(down), abs(right)),
            np.hypot(down, right),
            abs(down) + abs(right),
        )[kind]
        inside = far <= radius
        masks[n][inside] = kind + 1
        images[n, 0][inside] += rng.uniform(0.6, 1.4)
        boxes[n] = x - radius, y - radius, x + radius + 1, y + radius + 1
    return torch.from_numpy(images).float(), torch.from_numpy(masks), torch.from_numpy(boxes)


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """Three levels, transposed convolutions on the way up."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([block(1, 8), block(8, 16), block(16, 32)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)])
        self.join = nn.ModuleList([block(32, 16), block(16, 8)])
        self.last = nn.Conv2d(8, KINDS + 1, 1)

    def forward(self, x):
        first = self.down[0](x)
        second = self.down[1](F.max_pool2d(first, 2))
        x = self.down[2](F.max_pool2d(second, 2))
        x = self.join[0](torch.cat([second, self.up[0](x)], 1))
        return self.last(self.join[1](torch.cat([first, self.up[1](x)], 1)))


def detector() -> nn.Sequential:
    """For each cell of 4 by 4 pixels: whether the middle of a shape is there, and its box."""
    body = block(1, 8, 2), block(8, 16, 2), block(16, 32), block(32, 32)
    return nn.Sequential(*body, nn.Conv2d(32, 5, 1))


def mask_loss(outputs: Tensor, masks: Tensor, boxes: Tensor) -> Tensor:
    return F.cross_entropy(outputs, masks)


def mask_overlaps(outputs: Tensor, masks: Tensor, boxes: Tensor) -> Tensor:
    """By class, over the pixels of all images."""
    found = outputs.argmax(1)
    kinds = [(found == kind, masks == kind) for kind in range(KINDS + 1)]
    return torch.stack([(a & b).sum() / (a | b).sum() for a, b in kinds])


def box_targets(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The number of each box's cell, and the box beside it, in cells: middle, width, height."""
    middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2 / CELL, (boxes[:, 2:] - boxes[:, :2]) / CELL
    cell = middle.floor()
    number = (cell[:, 1] * (SIZE // CELL) + cell[:, 0]).long()
    return number, torch.cat([middle - cell, size], dim=1).float()


def box_loss(outputs: Tensor, masks: Tensor, boxes: Tensor) -> Tensor:
    number, wanted = box_targets(boxes)
    cells = outputs.flatten(2)
    found = cells[torch.arange(len(cells)), 1:, number]
    return F.cross_entropy(cells[:, 0], number) + F.smooth_l1_loss(found, wanted)


def box_overlaps(outputs: Tensor, masks: Tensor, boxes: Tensor) -> Tensor:
    """Of the likeliest cell's box with the real one, image by image."""
    cells = outputs.flatten(2)
    number = cells[:, 0].argmax(1)
    x, y, width, height = cells[torch.arange(len(cells)), 1:, number].double().T
    across = SIZE // CELL
    x, y = CELL * (x + number % across), CELL * (y + number // across)
    width, height = CELL * width.clamp_min(0), CELL * height.clamp_min(0)
    low = torch.stack([x - width / 2, y - height / 2], 1)
    high = torch.stack([x + width / 2, y + height / 2], 1)
    common = torch.minimum(high, boxes[:, 2:]) - torch.maximum(low, boxes[:, :2])
    common = common.clamp_min(0).prod(1)
    areas = width * height + (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return common / (areas - common)


def batches(data: tuple, epochs: int):
    for epoch in range(epochs):
        order = torch.from_numpy(np.random.default_rng(epoch).permutation(TRAINED))
        for chosen in order.split(BATCH):
            yield tuple(part[chosen] for part in data)


@pytest.mark.parametrize(
    ("network", "loss", "overlaps", "good"),
    [(UNet, mask_loss, mask_overlaps, 85), (detector, box_loss, box_overlaps, 75)],
    ids=["u-net", "detector"],
)
def test_three_bits_are_as_good_as_float(network, loss, overlaps, good):
    torch.manual_seed(0)
    data, unseen = drawn(TRAINED, 1), drawn(TESTED, 2)
    module = network()
    epochs, steps = 8, TRAINED // BATCH
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    schedule = Schedule(epochs * steps, warmup=0, freeze=0.05, settle=0.1, blend_power=3)
    for number, (images, *truth) in enumerate(batches(data, epochs)):
        optimizer.param_groups[0]["lr"] = 0.01 * schedule.learning_rate(number)
        optimizer.zero_grad()
        loss(module(images), *truth).backward()
        optimizer.step()
    module.eval()
    with torch.no_grad():
        before = 100 * float(overlaps(module(unseen[0]), *unseen[1:]).mean())

    # The last layer's outputs are numbers to read, so they keep more bits.
    last = {"last" if network is UNet else "4": {"act_bits": 12}}
    quantized = quantize(module, [data[0][:512]], QuantConfig(weight_bits=3, overrides=last))
    rounded = 100 * float(overlaps(quantized(unseen[0]).detach(), *unseen[1:]).mean())
    quantized.train()
    epochs = 5
    optimizer = torch.optim.AdamW(parameter_groups(quantized, 1e-4), lr=1e-3)
    training = QuantizedTraining(
        quantized, optimizer, steps=epochs * steps, batches=[data[0][:512]], rounded=True
    )
    for images, *truth in batches(data, epochs):
        optimizer.zero_grad()
        loss(quantized(images), *truth).backward()
        training.step()
    quantized.eval()
    codes = run(export_graph(quantized, (1, SIZE, SIZE)), unseen[0].numpy())
    step = quantized.formats()[quantized.steps[-1].name].step
    found = torch.from_numpy(codes) * step
    after = 100 * float(overlaps(found, *unseen[1:]).mean())
    print(f"\nfloat {before:.2f} %, rounded {rounded:.2f} %, 3 bits trained {after:.2f} %")
    assert before > good
    assert after > before - LOSS
