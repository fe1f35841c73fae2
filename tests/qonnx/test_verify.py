"""An imported graph beside its model: equal, or the first difference; on the command line too."""

import json

import numpy as np
import pytest
from onnx import helper

from nbqnn_train.graph import GraphError, load
from nbqnn_train.qonnx import import_model
from nbqnn_train.qonnx.verify import Difference, verify
from scripts.cli import main
from tests.qonnx.models import Build


def _written(build: Build, output: str, path) -> None:
    path.write_bytes(build.model(output).SerializeToString())


@pytest.fixture
def ties(tmp_path):
    """One weight of 1 on whole numbers, quantized to steps of 2: every odd sum is a tie."""
    b = Build(shape=(1, 1, 1, 1))
    x = b.quant(b.op("Add", ["x", b.const(0.5)]), 1.0)
    x = b.op("Conv", [x, b.const([[[[1.0]]]])])
    _written(b, b.quant(x, 2.0, mode="ROUND"), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_the_first_difference_is_found(ties):
    found = import_model(ties, exact=False)
    assert any("half-way" in note for note in found.notes)
    images = np.float32([0, 1, 2, 3, 4, 5]).reshape(6, 1, 1, 1)
    result = verify(ties, found, images)
    # 1 / 2 and 5 / 2 go to even in the model, up in the graph; 3 / 2 goes to 2 in both.
    assert (result.images, result.values, result.mismatches) == (6, 6, 2)
    assert result.first == Difference(1, found.graph.outputs[0], 0, 1, 0.0)
    assert verify(ties, found, images[::2]).mismatches == 0


@pytest.mark.parametrize("unused", [False, True])
def test_several_inputs_by_name(unused, tmp_path, capfd):
    """Also beside an input of the model that nothing reads."""
    b = Build()
    x = b.op("Add", [b.act(b.conv(b.image())), b.act(b.conv(b.image("z")))])
    model = b.model(b.quant(x, 2.0**-4))
    info = [helper.make_tensor_value_info("z", 1, [1, 2, 8, 8])]
    if unused:
        info += [helper.make_tensor_value_info("nothing", 1, [1, 3])]
    info += list(model.graph.input)
    del model.graph.input[:]
    model.graph.input.extend(info)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    images = {"x": b.images(3), "z": b.images(3)}
    np.savez(tmp_path / "images.npz", **images)
    np.save(tmp_path / "images.npy", images["x"])
    found = import_model(tmp_path / "model.onnx")
    result = verify(tmp_path / "model.onnx", found, images)
    assert (result.images, result.values, result.mismatches) == (3, 3 * 256, 0)
    arguments = ["import", str(tmp_path / "model.onnx"), "-o", str(tmp_path / "graph"), "--verify"]
    assert main([*arguments, str(tmp_path / "images.npz")]) == 0
    assert "3 images, 768 values compared with the model, 0 mismatches" in capfd.readouterr().out
    assert main([*arguments, str(tmp_path / "images.npy")]) == 2
    assert "must be given images for its inputs" in capfd.readouterr().err


def test_the_end_that_is_left_out_is_not_compared(tmp_path):
    """Softmax and arg-max stay outside; sums without a quantizer are compared to a step."""
    b = Build()
    x = b.op("Gemm", [b.flat(b.body()), b.weight((5, 256)), b.const([0.1] * 5)], transB=1)
    x = b.op("ArgMax", [b.op("Softmax", [x], axis=1)], axis=1, keepdims=0)
    _written(b, x, tmp_path / "model.onnx")
    found = import_model(tmp_path / "model.onnx", exact=False)
    assert [note.split(" ")[0] for note in found.notes[:2]] == ["Softmax", "ArgMax"]
    assert found.graph.final == ("argmax",)
    result = verify(tmp_path / "model.onnx", found, b.images(5))
    assert (result.values, result.mismatches) == (25, 0)
    assert result.rounded == (found.graph.outputs[0],)


def test_channels_last_input(tmp_path):
    """As Keras has it: (N, H, W, C), turned round by the first operator."""
    b = Build(shape=(1, 8, 6, 2))
    x = b.op("Transpose", ["x"], perm=[0, 3, 1, 2])
    x = b.act(b.conv(b.image(x)))
    _written(b, b.head(b.flat(x), 192), tmp_path / "model.onnx")
    found = import_model(tmp_path / "model.onnx")
    assert found.graph.input_nodes[0].shape == (2, 8, 6)
    assert found.notes == ("input 'x' is taken channels first, (N, C, H, W)",)
    images = b.images(4).transpose(0, 3, 1, 2).copy()
    assert verify(tmp_path / "model.onnx", found, images).mismatches == 0


def test_rounded_weights_state_their_error(tmp_path):
    b = Build()
    weight = b.rng.choice([-0.75, 0.25, 1.0], (4, 2, 3, 3))
    x = b.act(b.op("Conv", [b.image(), b.const(weight)], pads=[1] * 4))
    _written(b, b.head(b.flat(x), 256), tmp_path / "model.onnx")
    with pytest.raises(GraphError, match="times the smallest of its channel"):
        import_model(tmp_path / "model.onnx", exact=False)
    found = import_model(tmp_path / "model.onnx", exact=False, round_weights=4)
    (note,) = (note for note in found.notes if "rounded to powers of two" in note)
    conv = next(node for node in found.graph.nodes if hasattr(node, "weight"))
    assert conv.weight_bits <= 4
    assert 0.01 < float(note.split("error ")[1].split("%")[0]) / 100 < 0.4


def test_inputs_that_are_not_quantized(tmp_path):
    """In the format that is named, else in 16 bits where that is allowed."""
    b = Build(shape=(1, 6))
    x = b.op("Div", [b.op("Add", ["x", b.const(1.0)]), b.const(2.0)])
    x = b.quant(b.op("Gemm", [x, b.weight((3, 6))], transB=1), 2.0**-3)
    _written(b, x, tmp_path / "model.onnx")
    with pytest.raises(GraphError, match="input 'x' is not quantized in the model; name its"):
        import_model(tmp_path / "model.onnx")
    found = import_model(tmp_path / "model.onnx", input_format=(True, 4, 0))
    images = b.rng.integers(-8, 8, (20, 6)).astype(np.float32)
    assert verify(tmp_path / "model.onnx", found, images).mismatches == 0
    found = import_model(tmp_path / "model.onnx", exact=False)
    assert found.graph.input_nodes[0].bits == 16
    images = b.rng.integers(-(2**14), 2**14, (20, 6)).astype(np.float32) / 2**13
    assert verify(tmp_path / "model.onnx", found, images).mismatches == 0


def _command(*arguments, capfd) -> tuple[int, str, str]:
    capfd.readouterr()
    code = main([str(argument) for argument in arguments])
    return code, *capfd.readouterr()


def test_import_verify(ties, tmp_path, capfd):
    images = np.float32([0, 1, 2, 3]).reshape(4, 1, 1, 1)
    np.save(tmp_path / "x.npy", images)
    np.save(tmp_path / "even.npy", images[::2])
    common = ("import", ties, "-o", tmp_path / "graph", "--approximate", "--verify")
    code, out, err = _command(*common, tmp_path / "even.npy", capfd=capfd)
    assert (code, err) == (0, "")
    assert "2 images, 2 values compared with the model, 0 mismatches" in out
    code, out, err = _command(
        *common, tmp_path / "x.npy", "--json", tmp_path / "r.json", capfd=capfd
    )
    assert (code, err) == (1, "")
    assert (
        "1 mismatches; --approximate may change what the model computes; the first is image 1, "
        "output 't3', value 0: 1 steps, the model 0"
    ) in out
    assert json.loads((tmp_path / "r.json").read_text())["mismatches"] == 1
    assert load(tmp_path / "graph").outputs == ("t3",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--input-format", "8"), "--input-format must be s or u, 2..16 bits and the exponent"),
        (("--input-format", "s17:0"), "--input-format must be s or u, 2..16 bits"),
        (("--round-weights", "7"), "--round-weights must be in 2..6, not 7"),
        (("--verify", "none.npy"), "'none.npy' cannot be read"),
        ((), "ties of channel 0 go to even"),
    ],
)
def test_import_refuses_options(ties, options, message, tmp_path, capfd):
    code, out, err = _command("import", ties, "-o", tmp_path / "graph", *options, capfd=capfd)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "graph").exists()
