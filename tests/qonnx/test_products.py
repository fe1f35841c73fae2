"""Linear layers in all of their forms, each against qonnx's executor."""

import numpy as np
import pytest

from tests.qonnx.models import Build, check


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


_PRODUCTS = {
    "matmul": lambda b, x, w: b.op("MatMul", [x, b.op("Transpose", [w], perm=[1, 0])]),
    "gemm": lambda b, x, w: b.op("Gemm", [x, w], transB=1),
    "gemm, factors": lambda b, x, w: b.op(
        "Gemm", [x, w, b.const([1.0, 2, 3, 4, 5])], transB=1, alpha=0.5, beta=0.25
    ),
    "gemm, one bias": lambda b, x, w: b.op("Gemm", [x, w, b.const(0.5)], transB=1),
    "gemm, no bias": lambda b, x, w: b.op("Gemm", [x, w, b.const(0.5)], transB=1, beta=0.0),
    "gemm, turned": lambda b, x, w: b.op(
        "Gemm", [b.op("Transpose", [x]), b.op("Transpose", [w])], transA=1
    ),
    "weights first": lambda b, x, w: b.op(
        "Transpose", [b.op("MatMul", [w, b.op("Transpose", [x])])]
    ),
    "weights first in gemm": lambda b, x, w: b.op("Transpose", [b.op("Gemm", [w, x], transB=1)]),
    "reshaped weights": lambda b, x, w: b.op(
        "MatMul", [x, b.op("Transpose", [b.op("Reshape", [w, b.const([5, 256], np.int64)])])]
    ),
    "offset of the input": lambda b, x, w: b.op(
        "MatMul",
        [b.op("Add", [x, b.const(0.375)]), b.op("Transpose", [w], perm=[1, 0])],
    ),
    "powers of two of the input": lambda b, x, w: b.op(
        "Gemm", [b.op("Mul", [x, b.const(np.exp2(np.arange(256) % 3))]), w], transB=1
    ),
    "minus the input": lambda b, x, w: b.op("Gemm", [b.op("Neg", [x]), w], transB=1),
}


@pytest.mark.parametrize("name", _PRODUCTS)
def test_forms_of_products(name, path):
    b = Build()
    x = b.flat(b.body())
    check(b, b.quant(_PRODUCTS[name](b, x, b.weight((5, 256))), 2.0**-4), path)
