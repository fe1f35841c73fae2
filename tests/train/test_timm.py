"""Well-known networks of timm: read and exported to the bit, or refused on one screen."""

import numpy as np
import pytest
import torch

from nbqnn_train.convert import NetworkRefused, QuantConfig, calibrate, convert
from tests.nightly import NIGHTLY
from tests.train.exactness import assert_exact
from tests.train.networks.timm_models import create_model

#: Those whose every operator there is, and the size of images that is quick and fits.
READ = {
    "cs3darknet_s": 64,
    "cspresnet50": 64,
    "darknet53": 64,
    "densenet121": 64,
    "dla34": 64,
    "dpn68": 64,
    "efficientnet_b0": 64,
    "efficientnet_lite0": 64,
    "ese_vovnet19b_dw": 64,
    "fbnetc_100": 64,
    "ghostnet_100": 64,
    "hardcorenas_a": 64,
    "hrnet_w18_small": 64,
    "inception_v3": 107,
    "lcnet_050": 64,
    "legacy_seresnet18": 64,
    "mixnet_s": 64,
    "mnasnet_small": 64,
    "mobilenetv1_100": 64,
    "mobilenetv2_100": 64,
    "mobilenetv3_large_100": 64,
    "mobilenetv3_small_100": 64,
    "mobileone_s0": 64,
    "regnetx_002": 32,
    "regnety_002": 64,
    "repghostnet_050": 64,
    "repvgg_a0": 64,
    "res2net50_26w_4s": 64,
    "resnet18": 32,
    "resnet18d": 64,
    "resnet26t": 64,
    "resnet50": 64,
    "resnetv2_50": 64,
    "resnext50_32x4d": 64,
    "rexnet_100": 64,
    "selecsls42b": 64,
    "semnasnet_100": 64,
    "seresnet50": 64,
    "spnasnet_100": 32,
    "starnet_s1": 64,
    "tf_efficientnet_lite0": 64,
    "tinynet_a": 64,
    "vgg11_bn": 224,
    "xception41": 64,
}
#: What the first of several reasons, or the only one, begins with.
REFUSED = {
    "convnext_atto": "layer_norm has no integer form",
    "edgenext_xx_small": "layer_norm has no integer form",
    "efficientvit_b0": "wrap_with_autocast has no integer form",
    "mobilevit_xxs": "layer_norm has no integer form",
    "skresnet18": "softmax has no integer form",
    "vit_tiny_patch16_224": "layer_norm has no integer form",
}
#: Quick ones of either kind; the nightly run takes all.
QUICK = ("regnetx_002", "lcnet_050", "skresnet18")
LINES, COLUMNS = 20, 400


def chosen(names) -> list[str]:
    return [name for name in names if NIGHTLY or name in QUICK]


def test_there_are_fifty():
    assert len(READ) + len(REFUSED) == 50


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", chosen(READ))
def test_exact(name):
    size = READ[name]
    torch.manual_seed(0)
    images = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)
    x = torch.from_numpy(images)
    network = convert(create_model(name, num_classes=10), QuantConfig(), x)
    calibrate(network, [x])
    assert_exact(network, images)


@pytest.mark.parametrize("name", chosen(REFUSED))
def test_refused_on_one_screen(name):
    size = 224 if "vit_tiny" in name else 64
    with pytest.raises(NetworkRefused) as caught:
        convert(create_model(name), QuantConfig(), torch.zeros(1, 3, size, size))
    lines = str(caught.value).splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS
    assert REFUSED[name] in lines[min(1, len(lines) - 1)]
    assert all(refusal.reason and refusal.remedy for refusal in caught.value.refusals)
    assert all(refusal.source for refusal in caught.value.refusals)
