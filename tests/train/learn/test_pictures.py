"""Pictures of a training hold what was measured."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from nbqnn_train.convert import QuantConfig, convert
from nbqnn_train.graph.results import ResultError
from nbqnn_train.learn.config import TrainConfig
from nbqnn_train.learn.histograms import bin_centers, histogram, staircase
from nbqnn_train.learn.pictures import (
    course_sections,
    histogram_figure,
    learning_figure,
    read_metrics,
)
from nbqnn_train.learn.results import LayerCourse, TrainingCourse, packed_shares
from nbqnn_train.learn.trained import load_run
from nbqnn_train.learn.training import train

LAYERS = ("features_0", "features_3", "features_7", "classifier")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("pictures") / "a <run>"
    train(TrainConfig(model="digits", data="digits", epochs=3, batch_size=64), out)
    return out


def figures(page: str) -> list[dict]:
    """The data of each picture on a page, read as the browser will."""
    found = []
    for start in re.finditer(r'Plotly\.newPlot\(\s*"picture\d+",\s*', page):
        traces, _ = json.JSONDecoder().raw_decode(page, start.end())
        found.append(traces)
    return found


def values(data: dict | list) -> np.ndarray:
    """Numbers as lists, or in the binary form that Plotly writes for long ones."""
    if isinstance(data, list):
        return np.array(data)
    import base64

    flat = np.frombuffer(base64.b64decode(data["bdata"]), data["dtype"])
    return flat.reshape([int(n) for n in data.get("shape", str(len(flat))).split(",")])


def test_the_page_holds_what_the_run_found(run):
    page = (run / "pictures.html").read_text(encoding="utf-8")
    assert "<title>a &lt;run&gt;</title>" in page
    assert "src=" not in re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.S)
    assert not re.search(r'<script[^>]+src="http', page)  # nothing comes over the network
    curves, heat, bars = figures(page)

    accuracy = next(t for t in curves if t["name"] == "accuracy")
    final = json.loads((run / "result.json").read_text())["accuracy"]
    assert values(accuracy["y"])[-1] == pytest.approx(final, abs=1 / 360)
    blend = values(next(t for t in curves if t["name"] == "lambda")["y"])
    assert blend[0] == 0
    assert blend[-1] > 0.999  # of the last step that was logged, which is not quite the last
    assert (np.diff(blend) >= 0).all()

    assert tuple(t["name"] for t in heat) == LAYERS
    network = load_run(run)
    formats = network.formats()
    for trace in heat:
        shares = values(trace["z"]) / 65535
        np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-3)
        step = next(s for s in network.steps if s.name == trace["name"])
        codes = network.ops[step.name].integers(formats[step.inputs[0]]).codes
        for position, share in zip(values(trace["y"]), shares[:, -1], strict=True):
            # After the last epoch every weight is at a level: 0, 1, 2, 4 at 0, 1, 2, 3.
            level = math.copysign(2 ** (abs(position) - 1), position) if position else 0
            assert share == pytest.approx(float((codes == level).double().mean()), abs=1e-5)

    names, weights = (bars[0]["name"], bars[1]["name"]), bars[1]
    assert names == ("activations", "weights")
    assert tuple(weights["x"]) == LAYERS
    assert all(0 < error < 0.5 for error in values(weights["y"]))
    assert set(LAYERS) < set(bars[0]["x"])


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
@pytest.mark.parametrize("blend", [0.0, 0.5, 1.0])
def test_histograms_count_every_weight_once(bits, blend):
    torch.manual_seed(1)
    network = convert(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3)), QuantConfig(weight_bits=bits))
    (layer,) = network.weighted_layers().values()
    counts, centers = histogram(layer, blend), bin_centers(bits)
    assert sum(counts) == layer.weight.numel()
    assert len(counts) == len(centers)
    assert counts[0] + counts[-1] == 0  # the range holds them all
    used = {center for center, count in zip(centers, counts, strict=True) if count}
    if blend == 1:
        assert all(center == int(center) for center in used)
    elif bits <= 4:
        assert any(center != int(center) for center in used)


def test_staircase():
    weights = torch.tensor([0, 0.5, 1, 2, 4, 8, -0.25, -2.0])
    expected = torch.tensor([0, 0.5, 1, 2, 3, 4, -0.25, -2.0])
    assert torch.equal(staircase(weights), expected)


def test_logs_of_a_resumed_training_are_joined(tmp_path):
    for version, text in enumerate(
        ("epoch,step,loss,accuracy\n0,9,3.0,\n0,9,,0.5\n1,19,2.0,\n", "epoch,step,loss\n1,15,1.5\n")
    ):
        (tmp_path / f"version_{version}").mkdir()
        (tmp_path / f"version_{version}" / "metrics.csv").write_text(text)
    metrics = read_metrics(tmp_path)
    assert metrics == {"loss": [(9, 3.0), (15, 1.5)], "accuracy": [(9, 0.5)]}
    traces = {trace.name: trace for trace in learning_figure(metrics).data}
    assert list(traces["loss"].y) == [3.0, 1.5]
    assert list(traces["accuracy"].x) == [9]


def course(layers: int, moments: int) -> TrainingCourse:
    """All weights of layer n are in bin n at first, and one further at each moment."""
    positions = bin_centers(3)
    return TrainingCourse(
        epochs=tuple(range(1, moments + 1)),
        blends=tuple(moment / 100 for moment in range(moments)),
        layers=tuple(
            LayerCourse(
                name=f"layer {number}",
                bits=3,
                positions=tuple(positions),
                histograms=packed_shares(
                    [
                        [
                            4 * (place == (number + moment) % len(positions))
                            for place, _ in enumerate(positions)
                        ]
                        for moment in range(moments)
                    ]
                ),
                weight_error=0.1,
            )
            for number in range(layers)
        ),
        errors={},
        images=5,
    )


def test_the_menu_shows_one_layer():
    figure = histogram_figure(course(layers=2, moments=3))
    assert [trace.visible for trace in figure.data] == [True, False]
    buttons = figure.layout.updatemenus[0].buttons
    assert [button.args[0]["visible"] for button in buttons] == [[True, False], [False, True]]
    assert list(figure.layout.yaxis.ticktext) == ["−4", "−2", "−1", "0", "1", "2", "4"]
    whole = np.zeros((len(bin_centers(3)), 3))
    whole[1, 0] = whole[2, 1] = whole[3, 2] = 65535
    assert np.array_equal(figure.data[1].z, whole)


def test_of_much_some_is_drawn():
    """With the first and the last of both; it comes to less than 70 kB, with the template."""
    figure = histogram_figure(course(layers=57, moments=60))
    names = [trace.name for trace in figure.data]
    assert names == [f"layer {number}" for number in (0, 8, 16, 24, 32, 40, 48, 56)]
    assert len(figure.data[0].x) == 30
    assert (figure.data[0].x[0], figure.data[0].x[-1]) == ("1 (λ 0.000)", "60 (λ 0.590)")
    assert len(figure.to_json()) < 70_000


def test_signal_to_noise():
    *_, section = course_sections(course(layers=1, moments=1))
    assert "<td>20.0</td><td></td>" in section.parts[-1]


def test_a_training_that_ended_early_may_have_no_moments():
    assert packed_shares([]) == ""
    (section,) = course_sections(course(layers=2, moments=0))
    assert section.title == "Quantization"


def test_a_damaged_course_is_refused():
    (layer,) = course(layers=1, moments=2).layers
    for text in ("x", layer.histograms[:-4]):
        with pytest.raises(ResultError, match="histograms of 'layer 0' are damaged"):
            _ = replace(layer, histograms=text).shares
