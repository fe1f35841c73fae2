"""Random models of many operators: what is imported computes what qonnx's executor does.

All numbers are dyadic and small, so that the executor's float32 does not round.
"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nbqnn_train.graph import GraphError
from tests.nightly import examples
from tests.qonnx.models import GENERAL, Build, imported, real_output, reference


class Grown(Build):
    """Adds random operators; ``tensors`` holds names with shapes without the batch."""

    def __init__(self, draw, seed: int, opset: int):
        super().__init__(shape=(1, 2, 6, 6), opset=opset, seed=seed)
        self.draw = draw
        self.sums = False
        self.x, self.size = self.image(), (2, 6, 6)

    def one_of(self, *values):
        return self.draw(st.sampled_from(values))

    def grow(self) -> None:
        kinds = ["scaled", "moved", "relu", "clip", "quant", "quant"]
        if len(self.size) == 3:
            kinds += ["max", "pad", "joined"] + (["flatten"] if self.size[1] > 2 else [])
            if not self.sums:
                kinds += ["conv", "conv", "depthwise", "mean", "residual"]
        elif not self.sums:
            kinds += ["linear", "linear"]
        getattr(self, f"_{self.one_of(*kinds)}")()

    def _column(self, values):
        numbers = [self.one_of(*values) for _ in range(self.size[0])]
        if self.one_of(False, True):
            numbers = numbers[:1] * self.size[0]
        shape = (1, self.size[0], 1, 1) if len(self.size) == 3 else (self.size[0],)
        return self.const(np.reshape(numbers, shape))

    def _scaled(self):
        self.x = self.op("Mul", [self.x, self._column([0.5, 1.0, 1.5, -1.0, 0.25])])
        self.sums = True

    def _moved(self):
        kind = self.one_of("Add", "Sub")
        operands = [self.x, self._column([0.0, 0.25, -1.0, 0.125])]
        self.x = self.op(kind, operands[:: self.one_of(1, -1)])
        self.sums = True

    def _relu(self):
        self.x = self.op("Relu", [self.x])

    def _clip(self):
        low, high = self.one_of((-1.0, 1.0), (0.0, 2.0), (-0.5, 0.25), (0.25, 3.0))
        self.x = self.op("Clip", [self.x, self.const(low), self.const(high)])
        self.sums = True

    def _quant(self):
        if self.draw(st.integers(0, 9)) == 0:
            self.x = self.op("BipolarQuant", [self.x, self.const(self.one_of(0.5, 1.0))], GENERAL)
        else:
            mode = self.one_of("FLOOR", "FLOOR", "CEIL", "DOWN", "UP", "ROUND", "HALF_UP")
            self.x = self.quant(
                self.x,
                self.one_of(2.0**-5, 2.0**-4, 2.0**-3, 2.0**-2, 0.375),
                self.one_of(2, 3, 4, 6, 8),
                self.one_of(0, 1),
                self.one_of(0, 1),
                mode,
                self.one_of(0.0, 0.0, 0.0, 3.0),
            )
        self.sums = False

    def _max(self):
        kernel = self.one_of(1, 2, 3)
        if min(self.size[1:]) < kernel:
            return
        pads = self.one_of(0, kernel // 2)
        stride = self.one_of(1, 2)
        self.x = self.op(
            "MaxPool",
            [self.x],
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pads, pads, 0, 0],
        )
        height, width = ((s + pads - kernel) // stride + 1 for s in self.size[1:])
        self.size = (self.size[0], height, width)

    def _pad(self):
        pads = self.one_of([1, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1])
        full = [0, 0, *pads[:2], 0, 0, *pads[2:]]
        self.x = self.op("Pad", [self.x, self.const(full, np.int64)])
        channels, height, width = self.size
        self.size = (channels, height + pads[0] + pads[2], width + pads[1] + pads[3])

    def _joined(self):
        if self.size[0] <= 8:
            other = self.op("Relu", [self.x])
            self.x = self.op("Concat", [self.x, other][:: self.one_of(1, -1)], axis=1)
            self.size = (2 * self.size[0], *self.size[1:])

    def _flatten(self):
        self.x = self.flat(self.x)
        self.size = (int(np.prod(self.size)),)

    def _conv(self):
        kernel = self.one_of(1, 2, 3)
        outputs = self.one_of(2, 4)
        self.x = self.conv(
            self.x,
            self.size[0],
            outputs,
            kernel,
            pads=None,
            auto_pad=self.one_of("SAME_UPPER", "SAME_LOWER"),
            bias=self.one_of(False, True),
        )
        self.size = (outputs, *self.size[1:])
        self.sums = True

    def _depthwise(self):
        channels = self.size[0]
        self.x = self.conv(self.x, channels, channels, 3, group=channels)
        self.sums = True

    def _mean(self):
        self.x = self.op("ReduceMean", [self.x], axes=[2, 3])
        self.size = (self.size[0], 1, 1)
        self.sums = True
        area = self.size[1] * self.size[2]
        if area & (area - 1):
            self._quant()

    def _residual(self):
        other = self.quant(self.op("Neg", [self.x]), self.one_of(2.0**-3, 2.0**-4), 4)
        self.x = self.op(self.one_of("Add", "Sub"), [self.x, other][:: self.one_of(1, -1)])
        self.sums = True

    def _linear(self):
        outputs = self.one_of(3, 5)
        weight = self.weight((outputs, self.size[0]))
        self.x = self.op("Gemm", [self.x, weight], transB=1)
        self.size = (outputs,)
        self.sums = True


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000), opset=st.sampled_from([13, 17]))
def test_random_models(data, seed, opset, tmp_path_factory):
    b = Grown(data.draw, seed, opset)
    for _ in range(data.draw(st.integers(1, 7))):
        b.grow()
    b._quant()
    model = b.model(b.x)
    try:
        graph = imported(model, tmp_path_factory.mktemp("random") / "model.onnx")
    except GraphError as error:
        assert "\n" not in str(error)
        return
    images = b.images(4)
    expected = reference(model, images)
    assert real_output(graph, images).reshape(expected.shape).tolist() == expected.tolist()
