"""models: what is listed; and a trained network's name wherever a graph is asked for."""

import json

import numpy as np
import pytest
from PIL import Image

from hw.boards.presets import PRESETS
from nbqnn_train.cards import card_names, read_card, read_networks
from nbqnn_train.graph import load, run, save
from scripts.models.figures import card_figures, cycles_of, network_figures
from tests.cli.networks import small_graph

NAME = "lenet5-mnist-3bit"


@pytest.fixture
def images(tmp_path):
    """Ten inputs, and a picture of the first."""
    pixels = np.random.default_rng(0).integers(0, 256, (10, 1, 28, 28), np.uint8)
    Image.fromarray(pixels[0, 0]).save(tmp_path / "image.png")
    x = pixels * np.float32(1 / 255)
    np.save(tmp_path / "x.npy", x)
    return x


def result(tmp_path) -> dict:
    return json.loads((tmp_path / "result.json").read_text())


def test_all_are_listed(nbqnn, tmp_path):
    outcome = nbqnn("models", "--json", "result.json")
    assert outcome.code == 0, outcome
    listed = result(tmp_path)
    assert [one["name"] for one in listed["trained"]] == card_names()
    assert [one["name"] for one in listed["networks"]] == [
        one.name for one in read_networks().networks
    ]
    for one in (*listed["trained"], *listed["networks"]):
        assert one["name"] in outcome.out
    error = read_card(NAME).error
    assert f"{error:.2%}" in outcome.out
    assert "270 k" in outcome.out  # parameters of ResNet-20
    assert "40.8 M" in outcome.out  # its MACs


def test_a_network_is_listed_with_what_was_trained_of_it(nbqnn, tmp_path):
    outcome = nbqnn("models", "lenet5", "--preset", "tiny", "--json", "result.json")
    assert outcome.code == 0, outcome
    listed = result(tmp_path)
    assert [one["name"] for one in listed["networks"]] == ["lenet5"]
    assert [one["name"] for one in listed["trained"]] == ["lenet5-fashion-3bit", NAME]
    assert f"{listed['networks'][0]['cycles']['tiny']:,}" in outcome.out
    assert "resnet20" not in outcome.out


def test_a_card_is_told(nbqnn, tmp_path):
    outcome = nbqnn("models", NAME, "--json", "result.json")
    assert outcome.code == 0, outcome
    card = read_card(NAME)
    for told in (card.what, card.sha256, card.evaluate, *card.commands, card.origins[0].licence):
        assert told in outcome.out
    assert result(tmp_path)["trained"] == [card.to_json()]


@pytest.mark.parametrize(
    ("pattern", "arguments"),
    [
        ("Name must be one of resnet20-3bit, .*, not 'resnet20-3bti'", ["resnet20-3bti"]),
        ("Name must be one of .*resnet20, .*, not 'xyz'", ["xyz"]),
        ("preset must be one of .*, not 'huge'", ["--preset", "huge"]),
    ],
)
def test_models_refuses(refused, pattern, arguments):
    refused(pattern, "models", *arguments, "--json", "result.json")


def test_predict_takes_a_name(nbqnn, images, tmp_path):
    assert nbqnn("predict", NAME, "image.png", "--json", "result.json").code == 0
    (one,) = result(tmp_path)["predictions"]
    codes = np.asarray(run(load(read_card(NAME).graph), images[:1])).ravel()
    assert [c["class"] for c in one["classes"]] == np.argsort(-codes, kind="stable")[:5].tolist()
    assert one["classes"][0]["name"] == str(one["classes"][0]["class"])


def test_compile_takes_a_name_and_keeps_what_inputs_mean(nbqnn, images, tmp_path):
    """The program is that of a copy of the graph's file."""
    assert nbqnn("generate", "--preset", "tiny", "-o", "hw").code == 0
    assert nbqnn("compile", NAME, "--hw", "hw", "-o", "program", "--json", "result.json").code == 0
    assert result(tmp_path)["cycles_per_image"] == read_card(NAME).cycles["tiny"]
    save(load(read_card(NAME).graph), tmp_path / "copy.graph")
    assert nbqnn("compile", "copy.graph", "--hw", "hw", "-o", "other").code == 0
    assert (tmp_path / "program").read_bytes() == (tmp_path / "other").read_bytes()
    assert (tmp_path / "program.meaning.json").is_file()


def test_inspect_takes_a_name(nbqnn, tmp_path):
    assert nbqnn("inspect", NAME, "--json", "result.json").code == 0
    assert sum(one["macs"] for one in result(tmp_path)["nodes"]) == read_card(NAME).macs


def test_a_file_of_that_name_goes_first(nbqnn, tmp_path):
    save(small_graph(), tmp_path / NAME)
    assert nbqnn("inspect", NAME, "--json", "result.json").code == 0
    assert len(result(tmp_path)["nodes"]) == len(small_graph().nodes)


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "lenet5-mnist-3", "x.npy"],
        ["inspect", "lenet5-mnist-3"],
        ["evaluate", "lenet5-mnist-3", "--data", "digits"],
        ["compile", "lenet5-mnist-3", "--hw", "hw", "-o", "program"],
        ["explore", "lenet5-mnist-3", "--board", "zcu102"],
        ["generate", "--spatial", "lenet5-mnist-3", "-o", "out"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_unknown_name_is_refused_with_the_nearest(refused, arguments):
    refused(
        "Network must be a file or folder, or a trained one such as lenet5-mnist-3bit.*", *arguments
    )


def test_a_program_must_be_compiled_first(refused, images):
    refused(
        f"Program must be a file, not the name '{NAME}' of a graph; remedy: nbqnn compile {NAME} "
        "--hw BUILD -o PROGRAM",
        *("simulate", NAME, "--input", "x.npy"),
    )


@pytest.mark.parametrize("preset", ["tiny", "zcu102-8bit", "zcu102-vpe16"])
def test_cycles_of_a_card_are_those_of_today(preset):
    card = read_card(NAME)
    assert card.cycles[preset] == cycles_of(load(card.graph), PRESETS[preset])


def test_figures_are_those_of_today():
    card = read_card(NAME)
    assert card_figures(card) == card
    figures = {one.name: one for one in read_networks().networks}
    assert network_figures("digits") == figures["digits"]
