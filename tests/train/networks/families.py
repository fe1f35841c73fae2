"""Small networks of the kinds that people deploy: name, module and shapes of its inputs."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.train.networks.parts import (
    DropPath,
    FrozenBatchNorm,
    Net,
    StandardizedConv,
    conv,
    conv_bn,
)

__all__ = ["FAMILIES"]

#: By name: what builds the module, and the shape of its input without the batch.
FAMILIES = {}
MAP = (3, 8, 8)


def family(name: str, shape: tuple[int, ...] = MAP):
    def register(build):
        assert name not in FAMILIES
        FAMILIES[name] = (build, shape)
        return build

    return register


def head(features: int, classes: int = 5) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes)]


@family("mobilenet v1")
def mobilenet_v1():
    layers = [conv_bn(3, 4, stride=2), conv_bn(4, 4, groups=4), conv_bn(4, 6, 1)]
    return nn.Sequential(*layers, *head(6))


@family("mobilenet v2")
def mobilenet_v2():
    body = nn.Sequential(
        conv_bn(4, 8, 1, nn.ReLU6), conv_bn(8, 8, 3, nn.ReLU6, groups=8), conv_bn(8, 4, 1, None)
    )
    block = Net(lambda m, x: x + m.body(x), body=body)
    return nn.Sequential(conv_bn(3, 4, act=nn.ReLU6), block, block.body[0], *head(8))


@family("mobilenet v2 with drop path")
def mobilenet_drop_path():
    body = nn.Sequential(conv_bn(4, 8, 1), conv_bn(8, 4, 3, None), DropPath())
    return nn.Sequential(conv_bn(3, 4), Net(lambda m, x: x + m.body(x), body=body), *head(4))


@family("mnasnet with dropout")
def mnasnet():
    layers = [conv_bn(3, 4, 5), conv_bn(4, 4, 5, groups=4, stride=2), nn.Dropout2d(0.3)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), linear())


def linear() -> nn.Linear:
    return nn.Linear(4, 5)


@family("squeezenet")
def squeezenet():
    def fire(m, x):
        x = m.squeeze(x).relu()
        return torch.cat([m.one(x).relu(), m.three(x).relu()], 1)

    block = Net(fire, squeeze=conv(6, 3, 1), one=conv(3, 4, 1), three=conv(3, 4))
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    last = [nn.Dropout(), nn.Conv2d(8, 5, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))]
    return nn.Sequential(conv(3, 6, stride=1), nn.ReLU(inplace=True), pool, block, *last)


@family("inception block")
def inception():
    def forward(m, x):
        return torch.cat([m.a(x), m.c(m.b(x)), m.d(x), m.e(F.max_pool2d(x, 3, 1, 1))], dim=1)

    parts = {
        "a": conv_bn(3, 3, 1),
        "b": conv_bn(3, 2, 1),
        "c": conv_bn(2, 4, 5),
        "d": nn.Sequential(nn.Conv2d(3, 3, (1, 7), padding=(0, 3)), nn.ReLU()),
        "e": conv_bn(3, 2, 1),
    }
    return nn.Sequential(Net(forward, **parts), *head(12))


@family("inception with averages")
def inception_average():
    def forward(m, x):
        y = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        return torch.cat((m.a(x), m.b(y)), -3)

    return nn.Sequential(Net(forward, a=conv_bn(3, 3, 1), b=conv_bn(3, 3, 1)), *head(6))


@family("googlenet stem", (3, 15, 15))
def googlenet():
    layers = [conv_bn(3, 4, 7, stride=2), nn.MaxPool2d(3, stride=2, ceil_mode=True)]
    return nn.Sequential(*layers, conv_bn(4, 4, 1), *head(4))


@family("densenet block")
def densenet():
    def layer(m, x):
        return torch.cat([x, m.conv(F.relu(m.norm(x), inplace=True))], 1)

    blocks = [Net(layer, norm=nn.BatchNorm2d(c), conv=conv(c, 2, bias=False)) for c in (4, 6)]
    last = [nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4, 1), nn.AvgPool2d(2)]
    return nn.Sequential(conv(3, 4), *blocks, *last, *head(4))


def residual(inputs: int, outputs: int, stride: int = 1, **options) -> Net:
    def forward(m, x):
        y = m.relu(m.bn1(m.conv1(x)))
        y = m.bn2(m.conv2(y))
        y += x if m.down is None else m.down(x)
        return m.relu(y)

    same = stride == 1 and inputs == outputs
    return Net(
        forward,
        conv1=conv(inputs, outputs, stride=stride, bias=False),
        bn1=nn.BatchNorm2d(outputs),
        conv2=conv(outputs, outputs, bias=False),
        bn2=nn.BatchNorm2d(outputs),
        relu=nn.ReLU(inplace=True),
        down=None if same else conv_bn(inputs, outputs, 1, None, stride=stride),
    )


@family("resnet")
def resnet():
    return nn.Sequential(conv_bn(3, 4), residual(4, 4), residual(4, 6, 2), *head(6))


@family("resnet d")
def resnet_d():
    shortcut = [nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False), conv(4, 6, 1)]
    block = residual(4, 6, 2)
    block.down = nn.Sequential(*shortcut, nn.BatchNorm2d(6))
    return nn.Sequential(conv_bn(3, 4), block, *head(6))


@family("resnet of option A")
def resnet_a():
    def forward(m, x):
        return F.relu(m.conv(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1)))

    return nn.Sequential(conv_bn(3, 4), Net(forward, conv=conv(4, 6, stride=2)), *head(6))


@family("resnet, norms first")
def resnet_v2():
    def forward(m, x):
        return x + m.conv2(F.relu(m.bn2(m.conv1(F.relu(m.bn1(x))))))

    parts = {"bn1": nn.BatchNorm2d(4), "conv1": conv(4, 4), "bn2": nn.BatchNorm2d(4)}
    block = Net(forward, **parts, conv2=conv(4, 4))
    return nn.Sequential(conv(3, 4), block, nn.BatchNorm2d(4), nn.ReLU(), *head(4))


@family("resnext")
def resnext():
    return nn.Sequential(conv_bn(3, 4), conv_bn(4, 8, groups=2), conv_bn(8, 8, 1), *head(8))


@family("resnet with frozen norms")
def resnet_frozen():
    def forward(m, x):
        return F.relu(x + m.norm(m.conv(x)))

    block = Net(forward, conv=conv(4, 4, bias=False), norm=FrozenBatchNorm(4))
    return nn.Sequential(conv(3, 4), FrozenBatchNorm(4), nn.ReLU(), block, *head(4))


@family("standardized weights")
def standardized():
    layers = [StandardizedConv(3, 4, 3, padding=1), nn.ReLU(), StandardizedConv(4, 4, 3)]
    return nn.Sequential(*layers, *head(4))


@family("weight norm")
def weight_norm():
    layers = [nn.utils.parametrizations.weight_norm(conv(3, 4)), nn.ReLU(), conv(4, 4)]
    return nn.Sequential(*layers, *head(4))


@family("spectral norm")
def spectral_norm():
    layers = [nn.utils.parametrizations.spectral_norm(conv(3, 4)), nn.ReLU(), conv(4, 4)]
    return nn.Sequential(*layers, *head(4))


@family("repvgg, as it is trained")
def repvgg():
    def forward(m, x):
        return F.relu(m.three(x) + m.one(x) + m.same(x))

    parts = {"three": conv_bn(4, 4, 3, None), "one": conv_bn(4, 4, 1, None)}
    return nn.Sequential(conv_bn(3, 4), Net(forward, **parts, same=nn.BatchNorm2d(4)), *head(4))


@family("repvgg, branches summed in the forward")
def repvgg_weights():
    def forward(m, x):
        weight = m.three.weight + F.pad(m.one.weight, (1, 1, 1, 1))
        return F.relu(F.conv2d(x, weight, m.three.bias + m.one.bias, padding=1))

    return nn.Sequential(Net(forward, three=conv(3, 4), one=conv(3, 4, 1)), *head(4))


@family("vgg")
def vgg():
    layers = [conv(3, 4), nn.ReLU(True), nn.MaxPool2d(2, 2), conv(4, 6), nn.ReLU(True)]
    last = [nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(24, 8), nn.ReLU(True)]
    return nn.Sequential(*layers, *last, nn.Dropout(), nn.Linear(8, 5))


@family("lenet", (1, 12, 12))
def lenet():
    def forward(m, x):
        x = F.max_pool2d(F.relu(m.conv1(x)), 2)
        x = F.max_pool2d(F.relu(m.conv2(x)), (2, 2))
        x = x.view(-1, 6 * 3 * 3)
        x = F.dropout(F.relu(m.fc1(x)), training=m.training)
        return F.log_softmax(m.fc2(x), dim=1)

    parts = {"conv1": conv(1, 4), "conv2": conv(4, 6), "fc1": nn.Linear(54, 8)}
    return Net(forward, **parts, fc2=nn.Linear(8, 5))


@family("alexnet", (3, 31, 31))
def alexnet():
    layers = [nn.Conv2d(3, 4, 11, 4, 2), nn.ReLU(True), nn.MaxPool2d(3, 2), conv(4, 6, 5)]
    last = [nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Dropout(), nn.Linear(54, 5)]
    return nn.Sequential(*layers, nn.ReLU(True), *last)


@family("all convolutional")
def all_convolutional():
    layers = [conv_bn(3, 4), conv_bn(4, 4, stride=2), conv(4, 5, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@family("segmentation without enlarging")
def segmentation():
    layers = [conv_bn(3, 4), conv_bn(4, 4, dilation=1), nn.Conv2d(4, 3, 1)]
    return nn.Sequential(*layers)


@family("dilated context")
def dilated():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=2, dilation=2), nn.ReLU(), conv(4, 2, 1))


@family("detector with two heads")
def detector():
    def forward(m, x):
        coarse = m.second(fine := m.first(x))
        return {"fine": m.a(fine), "coarse": m.b(coarse)}

    parts = {"first": conv_bn(3, 4), "second": conv_bn(4, 6, stride=2)}
    return Net(forward, **parts, a=conv(4, 3, 1), b=conv(6, 3, 1))


@family("detector that arranges its anchors")
def anchors():
    def forward(m, x):
        x = m.body(x)
        batch, _, height, width = x.shape
        x = x.view(batch, 2, 3, height, width).permute(0, 1, 3, 4, 2)
        return x.reshape(batch, -1, 3)

    return Net(forward, body=nn.Sequential(conv_bn(3, 4), conv(4, 6, 1)))


@family("keyword spotting", (1, 13, 10))
def keyword_spotting():
    layers = [conv_bn(1, 4, 5, stride=(2, 2)), conv_bn(4, 4, groups=4), conv_bn(4, 4, 1)]
    return nn.Sequential(*layers, nn.AvgPool2d((7, 5)), nn.Flatten(), linear())


@family("padding as TensorFlow does")
def same_padding():
    def forward(m, x):
        return m.conv(F.pad(x, (0, 1, 0, 1)))

    block = Net(forward, conv=nn.Conv2d(3, 4, 3, stride=2))
    pool = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.AvgPool2d(3, 2))
    return nn.Sequential(block, nn.ReLU(), pool, *head(4))


@family("padding that two layers read, of which one is a pool")
def shared_padding():
    def forward(m, x):
        x = F.pad(m.first(x), (1, 1, 1, 1))
        return m.conv(x) + F.max_pool2d(x, 3, 1)

    return nn.Sequential(Net(forward, first=conv(3, 4), conv=nn.Conv2d(4, 4, 3)), *head(4))


@family("padding with minus infinity")
def infinite_padding():
    def forward(m, x):
        return F.max_pool2d(F.pad(m.conv(x), (0, 1, 0, 1), value=-float("inf")), 3, 2)

    return nn.Sequential(Net(forward, conv=conv(3, 4)), *head(4))


@family("input that is normalized inside")
def normalized_input():
    def forward(m, x):
        return m.conv((x - m.mean) / m.std)

    module = Net(forward, conv=conv_bn(3, 4))
    module.register_buffer("mean", torch.tensor([0.5, 0.4, 0.3]).reshape(1, 3, 1, 1))
    module.register_buffer("std", torch.tensor([0.2, 0.25, 0.5]).reshape(1, 3, 1, 1))
    return module


@family("layer scale and factors")
def layer_scale():
    def forward(m, x):
        x = m.first(x)
        return x + m.second(x) * m.gamma

    parts = {"first": conv_bn(3, 4), "second": conv_bn(4, 4, act=None)}
    return nn.Sequential(Net(forward, **parts, gamma=nn.Parameter(torch.rand(4, 1, 1))), *head(4))
