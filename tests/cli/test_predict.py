"""predict: classes of pictures and arrays, by a graph and by an accelerator."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from nbqnn_train.graph import run, save
from nbqnn_train.inputs.meaning import Meaning, meaning_file, write_meaning
from nbqnn_train.inputs.preparation import Preparation
from tests.cli.networks import small_graph
from tests.hw.spatial.maps import Maps

NAMES = tuple(f"class {letter}" for letter in "abcdefghij")


@pytest.fixture
def graph(tmp_path):
    """A graph with a picture's way to its input, and names; and pictures."""
    save(small_graph(), tmp_path / "graph")
    preparation = Preparation(mean=(0.0,), scale=(1 / 64,))
    meaning = Meaning(preparation=preparation, classes=NAMES)
    write_meaning(meaning_file(tmp_path / "graph"), meaning, small_graph())
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (4, 8, 8), np.uint8)
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    x = pixels[:, None].astype(np.float32) / 64
    np.save(tmp_path / "x.npy", x)
    return x


def circuit_graph():
    """A graph that takes little time to compile as a circuit."""
    maps = Maps(3, (1, 8, 8), signed=False)
    maps.linear(maps.average("x", (4, 4), (4, 4)), 3)
    return maps.graph()


def expected(x) -> np.ndarray:
    """Classes from the largest output to the smallest."""
    return np.argsort(-run(small_graph(), x), axis=1, kind="stable")


def predictions(tmp_path) -> list[list[int]]:
    result = json.loads((tmp_path / "result.json").read_text())
    return [[one["class"] for one in image["classes"]] for image in result["predictions"]]


def test_pictures_and_arrays_give_the_same(nbqnn, graph, tmp_path):
    files = [f"{number}.png" for number in range(4)]
    outcome = nbqnn("predict", "graph", *files, "--top", "3", "--json", "result.json")
    assert outcome.code == 0, outcome
    assert predictions(tmp_path) == expected(graph)[:, :3].tolist()
    assert NAMES[expected(graph)[0, 0]] in outcome.out
    assert nbqnn("predict", "graph", "x.npy", "--top", "3", "--json", "result.json").code == 0
    assert predictions(tmp_path) == expected(graph)[:, :3].tolist()


def test_scores_are_a_softmax_of_the_outputs(nbqnn, graph, tmp_path):
    assert nbqnn("predict", "graph", "0.png", "--top", "10", "--json", "result.json").code == 0
    (image,) = json.loads((tmp_path / "result.json").read_text())["predictions"]
    outputs = np.array([one["output"] for one in image["classes"]])
    scores = [one["score"] for one in image["classes"]]
    assert sorted(outputs) == sorted(run(small_graph(), graph[:1])[0])
    np.testing.assert_allclose(scores, np.exp(outputs) / np.exp(outputs).sum(), rtol=1e-9)


def test_a_sigmoid_that_was_left_out_is_applied(nbqnn, graph, tmp_path):
    save(replace(small_graph(), final=("sigmoid",)), tmp_path / "graph")
    assert nbqnn("predict", "graph", "x.npy", "--json", "result.json").code == 0
    result = json.loads((tmp_path / "result.json").read_text())
    best = result["predictions"][0]["classes"][0]
    assert result["score"] == "sigmoid"
    assert best["score"] == pytest.approx(1 / (1 + np.exp(-best["output"])))


def test_one_array_without_the_axis_of_images(nbqnn, graph, tmp_path):
    np.save(tmp_path / "one.npy", graph[2])
    assert nbqnn("predict", "graph", "one.npy", "--top", "1", "--json", "result.json").code == 0
    assert predictions(tmp_path) == [[expected(graph)[2, 0]]]


def test_what_is_known_can_be_said_otherwise(nbqnn, graph, tmp_path):
    text = "\r\n".join(name.upper() for name in NAMES) + "\r\n"
    (tmp_path / "names.txt").write_text(text, encoding="utf-8-sig", newline="")
    options = ["--classes", "names.txt", "--mean", "0", "--std", str(64 / 255)]
    outcome = nbqnn("predict", "graph", "1.png", *options, "--json", "result.json")
    assert outcome.code == 0, outcome
    assert predictions(tmp_path) == [expected(graph)[1, :5].tolist()]
    assert NAMES[expected(graph)[1, 0]].upper() in outcome.out
    assert "\ufeff" not in outcome.out


def test_the_accelerator_says_the_same_and_how_long(nbqnn, graph, tmp_path):
    assert nbqnn("generate", "--preset", "tiny", "-o", "build").code == 0
    assert nbqnn("compile", "graph", "--hw", "build", "-o", "program").code == 0
    files = ["0.png", "x.npy"]
    outcome = nbqnn("predict", "program", *files, "--top", "2", "--json", "result.json")
    assert outcome.code == 0, outcome
    both = np.concatenate([graph[:1], graph])
    assert predictions(tmp_path) == expected(both)[:, :2].tolist()
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["by"], result["mismatches"]) == ("accelerator", 0)
    microseconds = result["cycles_per_image"] / result["clock_mhz"]
    assert result["microseconds_per_image"] == pytest.approx(microseconds)


def test_a_circuit_gives_the_same(nbqnn, refused, graph, tmp_path):
    """With the names and the pictures' way to its input that the graph has."""
    save(circuit_graph(), tmp_path / "graph")
    names = Meaning(preparation=Preparation(mean=(0.0,), scale=(1.0,)), classes=("a", "b", "c"))
    write_meaning(meaning_file(tmp_path / "graph"), names, circuit_graph())
    assert nbqnn("generate", "--spatial", "graph", "-o", "build", "--clock-mhz", "200").code == 0
    by_circuit = nbqnn("predict", "build", "0.png", "x.npy", "--json", "result.json")
    assert by_circuit.code == 0, by_circuit
    found = json.loads((tmp_path / "result.json").read_text())
    assert (found["by"], found["mismatches"], found["cycles_per_image"]) == ("circuit", 0, 64)
    assert found["microseconds_per_image"] == pytest.approx(64 / 200)
    assert nbqnn("predict", "graph", "0.png", "x.npy", "--json", "result.json").code == 0
    by_graph = json.loads((tmp_path / "result.json").read_text())
    assert found["predictions"] == by_graph["predictions"]
    assert {one["name"] for one in found["predictions"][0]["classes"]} == {"a", "b", "c"}
    np.save(tmp_path / "flat.npy", np.zeros((4, 64), np.float32))
    refused("images 'flat.npy' must have shape .*, not .*", "predict", "build", "flat.npy")
    pattern = "the simulation of a circuit takes --input and --json, not --vcd"
    refused(pattern, "simulate", "build", "--input", "x.npy", "--vcd", "waves.vcd")


def test_what_belongs_to_another_graph_is_not_used(refused, graph, tmp_path):
    save(small_graph(classes=9), tmp_path / "graph")
    refused("How pictures become inputs of 'graph' is not known; .*", "predict", "graph", "0.png")


@pytest.mark.parametrize(
    ("pattern", "arguments"),
    [
        ("Graph or program 'gone.graph' cannot be read: .*", ["gone.graph", "x.npy"]),
        ("text.png must be an image: .*", ["graph", "text.png"]),
        ("images 'flat.npy' must have shape .*, not .*", ["graph", "flat.npy"]),
        ("images 'bytes.npy' must be float32 .*, not uint8 .*", ["graph", "bytes.npy"]),
        ("Images 'x.npz' must be a picture or a .npy file; .*", ["graph", "x.npz"]),
        (
            "Classes 'short.txt' must have 10 lines, .*, not 2",
            ["graph", "x.npy", "--classes", "short.txt"],
        ),
        ("Pictures need both of --mean and --std, or none", ["graph", "0.png", "--mean", "0"]),
        (
            "Mean and std must be 1 numbers .*, not '0,0'",
            ["graph", "0.png", "--mean", "0,0", "--std", "1"],
        ),
        ("--crop is for pictures, .*; remedy: leave out --crop", ["graph", "x.npy", "--crop", "1"]),
        ("Std must be positive, not '0'", ["graph", "0.png", "--mean", "0", "--std", "0"]),
        (".*graph.meaning.json must be as nbqnn wrote it: .*", ["damaged", "0.png"]),
    ],
)
def test_predict_refuses(refused, graph, tmp_path, pattern, arguments):
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "short.txt").write_text("one\ntwo\n")
    np.save(tmp_path / "flat.npy", np.zeros((4, 64), np.float32))
    np.save(tmp_path / "bytes.npy", np.zeros((4, 1, 8, 8), np.uint8))
    if arguments[0] == "damaged":
        meaning_file(tmp_path / "graph").write_text("{")
        arguments = ["graph", *arguments[1:]]
    refused(pattern, "predict", *arguments)
