"""scripts.networks: they are the networks that are named, by their published sizes."""

import pytest
import torch

from nbqnn_train.models.registry import build_model
from scripts.networks.images import espcn, unet
from scripts.networks.mlperf_tiny import autoencoder, ds_cnn, mobilenet_v1_quarter
from scripts.networks.mobile import mobilenet_v3_cifar
from scripts.performance import full_name


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # Of torchvision.
        ("mobilenet_v2", 3_504_872),
        ("mobilenet_v3_large", 5_483_032),
        ("efficientnet_b0", 5_288_548),
        ("shufflenet_v2", 2_278_604),
        # Of Ultralytics' and Megvii's files.
        ("yolov3_tiny", 8_852_366),
        ("yolox_nano", 912_159),
    ],
)
def test_number_of_parameters(name, parameters):
    classes = None if name.startswith("yolo") else 1000
    with torch.device("meta"):
        network = build_model(full_name(name), classes, 3)
    assert sum(one.numel() for one in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("network", "inputs", "outputs"),
    [
        (unet, (3, 64, 64), [(2, 64, 64)]),
        (espcn, (1, 24, 32), [(1, 72, 96)]),
        (mobilenet_v1_quarter, (3, 96, 96), [(2,)]),
        (ds_cnn, (1, 49, 10), [(12,)]),
        (autoencoder, (640,), [(640,)]),
        (mobilenet_v3_cifar, (3, 32, 32), [(10,)]),
    ],
)
def test_shapes(network, inputs, outputs):
    with torch.no_grad():
        found = network().eval()(torch.zeros(1, *inputs))
    found = found if isinstance(found, tuple) else (found,)
    assert [tuple(one.shape[1:]) for one in found] == outputs


@pytest.mark.parametrize(
    ("name", "size", "outputs"),
    [
        ("ssd_mobilenet_v2", 300, [(255, 19), (510, 10), *((510, n) for n in (5, 3, 2, 1))]),
        ("yolov3_tiny", 416, [(255, 13), (255, 26)]),
        ("yolox_nano", 416, [(85, 52), (85, 26), (85, 13)]),
    ],
)
def test_maps_of_detectors(name, size, outputs):
    with torch.device("meta"):
        network = build_model(full_name(name), None, 3).eval()
        found = network(torch.zeros(1, 3, size, size))
    assert [tuple(one.shape[1:]) for one in found] == [(c, n, n) for c, n in outputs]
