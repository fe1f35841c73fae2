"""Small networks in the ways in which people write them: vectors, series, shapes, places."""

import itertools
from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

from tests.train.networks.families import FAMILIES, family, head
from tests.train.networks.parts import Net, conv, conv_bn

__all__ = ["FORMS"]

_BEFORE = set(FAMILIES)


@family("autoencoder", (24,))
def autoencoder():
    sizes = (24, 12, 4, 12, 24)
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-2])


@family("multilayer perceptron of vectors", (10,))
def mlp():
    return nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3))


@family("multilayer perceptron of images", (1, 6, 6))
def mlp_images():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3))


@family("jet tagging", (16,))
def jet_tagging():
    names = ("fc1", "relu1", "fc2", "relu2", "output")
    layers = nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 5)
    named = OrderedDict(zip(names, layers, strict=True))
    return nn.Sequential(OrderedDict(named, softmax=nn.Softmax(dim=-1)))


@family("matrix products", (10,))
def matrices():
    def forward(m, x):
        return torch.addmm(m.b, F.relu(x @ m.a), m.c)

    shapes = {"a": (10, 6), "b": (4,), "c": (6, 4)}
    parts = {name: nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}
    return Net(forward, **parts)


@family("residual vectors", (8,))
def residual_vectors():
    def forward(m, x):
        return torch.cat([x, F.relu(x.add(m.a(x)))], dim=-1)

    return nn.Sequential(Net(forward, a=nn.Linear(8, 8)), nn.Linear(16, 3))


@family("series", (2, 16))
def series():
    layers = [nn.Conv1d(2, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU(), nn.MaxPool1d(2)]
    more = [nn.Conv1d(4, 4, 3, dilation=2, groups=2), nn.ReLU6(), nn.AvgPool1d(2)]
    return nn.Sequential(*layers, *more, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3))


@family("series to series", (2, 12))
def series_out():
    def forward(m, x):
        y = m.body(x)
        return y + m.same(x)

    body = nn.Sequential(nn.Conv1d(2, 4, 5, padding="same"), nn.ReLU(), nn.Conv1d(4, 4, 1))
    return Net(forward, body=body, same=nn.Conv1d(2, 4, 1))


@family("temporal convolutions", (3, 16))
def temporal():
    def forward(m, x):
        x = F.relu(m.conv1(F.pad(x, (2, 0))))
        x = F.relu(m.conv2(F.pad(x, (4, 0))))
        return m.fc(x.mean(-1))

    parts = {"conv1": nn.Conv1d(3, 4, 3), "conv2": nn.Conv1d(4, 4, 3, dilation=2)}
    return Net(forward, **parts, fc=nn.Linear(4, 3))


@family("a vector as a map of one position", (6,))
def vector_map():
    def forward(m, x):
        return m.conv(x[:, :, None, None]).flatten(1)

    return Net(forward, conv=nn.Conv2d(6, 4, 1))


@family("channels last and back")
def channels_last():
    def forward(m, x):
        x = m.conv(x).permute(0, 2, 3, 1)
        return m.fc2(F.relu(m.fc1(x))).permute(0, 3, 1, 2)

    return Net(forward, conv=conv(3, 4), fc1=nn.Linear(4, 6), fc2=nn.Linear(6, 4))


@family("in place, as statements")
def in_place():
    def forward(m, x):
        x = m.a(x)
        x.relu_()
        y = m.b(x)
        m.relu(y)
        F.relu6(y, inplace=True)
        x.add_(y)
        x.clamp_(max=2.0)
        return m.c(x)

    return Net(forward, a=conv(3, 4), b=conv(4, 4), c=conv(4, 4), relu=nn.ReLU(inplace=True))


@family("in place on another name")
def in_place_alias():
    def forward(m, x):
        y = m.a(x)
        z = y
        z += m.b(F.relu_(m.c(x)))
        return y * 1 + 0

    return Net(forward, a=conv(3, 4), b=conv(4, 4), c=conv(3, 4))


@family("in place on a view")
def in_place_view():
    def forward(m, x):
        x = m.a(x)
        flat = x.view(len(x), -1)
        flat.relu_()
        return m.b(x) + x

    return Net(forward, a=conv(3, 4), b=conv(4, 4))


@family("in place on the way around a layer")
def in_place_residual():
    def forward(m, x):
        x = m.a(x)
        return x + m.b(m.relu(x))

    return Net(forward, a=conv(3, 4), b=conv(4, 4), relu=nn.ReLU(inplace=True))


@family("conditions on shapes")
def conditions():
    def forward(m, x):
        if x.shape[-1] > 4 and len(x) > 1:
            x = F.max_pool2d(x, 2)
        height, width = x.size()[2:]
        assert height == width
        return m.a(x[: len(x)]).reshape(x.size(0), 4 * height * width)

    return Net(forward, a=conv(3, 4))


@family("pooling of the size of the map")
def whole_map():
    def forward(m, x):
        x = m.a(x)
        return m.fc(F.avg_pool2d(x, x.shape[2:]).squeeze(-1).squeeze(-1))

    return Net(forward, a=conv(3, 4), fc=nn.Linear(4, 3))


@family("means and largest values")
def means():
    def forward(m, x):
        x = m.a(x)
        y = x.mean((2, 3), keepdim=True) + torch.mean(x, dim=[-2, -1], keepdim=True)
        return torch.cat([y.flatten(1), x.amax((2, 3)), F.adaptive_max_pool2d(x, 1).flatten(1)], 1)

    return Net(forward, a=conv_bn(3, 4))


@family("positions one after the other")
def positions():
    def forward(m, x):
        x = m.a(x).flatten(2)
        return m.fc(x.mean(2))

    return Net(forward, a=conv_bn(3, 4), fc=nn.Linear(4, 3))


@family("there and back again")
def there_and_back():
    def forward(m, x):
        batch, channels, height, width = (x := m.a(x)).shape
        x = x.reshape(batch, channels, height * width).transpose(1, 2).transpose(1, 2)
        x = x.unsqueeze(1).squeeze(1).view(batch, channels, height, width)
        return m.b(x.contiguous())

    return Net(forward, a=conv_bn(3, 4), b=conv(4, 2))


@family("one module twice")
def twice():
    def forward(m, x):
        x = m.first(x)
        return m.norm(m.layer(m.norm(m.layer(x))).relu())

    return Net(forward, first=conv(3, 4), layer=conv(4, 4), norm=nn.BatchNorm2d(4))


@family("lists and dicts of modules")
def containers():
    def forward(m, x):
        for layer in m.layers:
            x = layer(x)
        return {name: m.heads[name](x) for name in m.heads}

    layers = nn.ModuleList([conv_bn(3, 4), conv_bn(4, 4)])
    heads = nn.ModuleDict({"a": conv(4, 2, 1), "b": nn.Sequential(*head(4))})
    return Net(forward, layers=layers, heads=heads)


@family("what evaluation does not use")
def unused():
    def forward(m, x):
        x = m.body(x)
        extra = torch.sigmoid(m.extra(x))
        return (m.head(x), extra) if m.training else m.head(x)

    parts = {"body": conv_bn(3, 4), "extra": conv(4, 2)}
    return Net(forward, **parts, head=nn.Sequential(*head(4)))


@family("subclasses of layers")
def subclasses():
    class MyConv(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * 1.0

    class MyNorm(nn.BatchNorm2d):
        pass

    class MyReLU(nn.ReLU):
        pass

    return nn.Sequential(MyConv(3, 4, 3), MyNorm(4), MyReLU(), *head(4))


@family("synchronized norm")
def synchronized():
    return nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(conv_bn(3, 4), *head(4)))


@family("differences and signs")
def differences():
    def forward(m, x):
        return -(m.a(x) - m.b(x)).relu()

    return Net(forward, a=conv(3, 4), b=conv(3, 4))


@family("limits of all kinds")
def limits():
    def forward(m, x):
        x = torch.clamp(m.a(x), 0, 4)
        x = F.hardtanh(m.b(x), -0.5, 0.75)
        return F.threshold(F.leaky_relu(m.c(x), 0.0), 0, 0).clip(min=0)

    return Net(forward, a=conv(3, 4), b=conv(4, 4), c=conv(4, 4))


@family("double precision")
def double():
    return nn.Sequential(conv_bn(3, 4), *head(4)).double()


@family("half precision")
def half():
    return nn.Sequential(conv_bn(3, 4), *head(4)).half()


FORMS = [name for name in FAMILIES if name not in _BEFORE]
