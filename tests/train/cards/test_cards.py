"""Trained networks in the package: their files, their figures, their names, their images."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nbqnn_train.cards.card
from nbqnn_train.cards import card_names, named_graph, read_card, read_networks
from nbqnn_train.data import load_data
from nbqnn_train.graph import Conv2d, Linear, NbqnnError, load, run, tensor_types
from nbqnn_train.inputs.decoding import read_picture
from nbqnn_train.inputs.meaning import meaning_file, read_meaning
from nbqnn_train.models import MODELS, build_model

NAMES = card_names()
#: Multiply-accumulates: those of the papers' layers, by hand.
MACS = {
    "lenet5": 28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10,
    "nbq": 9 * (32 * 32 * 64 * 67 + 16 * 16 * 128 * 192 + 8 * 8 * 256 * 384) + 2560,
    "nbq7": 9 * (32 * 32 * 32 * (3 + 64) + 16 * 16 * 64 * (64 + 192) + 192 * 192 * (2 * 64 + 16))
    + 1920,
    "nbq_small": 9 * (28 * 28 * 16 * 17 + 14 * 14 * 32 * 48 + 7 * 7 * 64 * 96) + 640,
    # Nineteen 3 x 3 convolutions, a linear layer, and two shortcuts that copy channels.
    "resnet20": 9 * (32 * 32 * 16 * (3 + 6 * 16) + 16 * 16 * 32 * (16 + 5 * 32))
    + 9 * 8 * 8 * 64 * (32 + 5 * 64)
    + 640
    + (16 * 16 * 32 * 16 + 8 * 8 * 64 * 32),
    # Three shortcuts fewer; the two that change the size are convolutions.
    "resnet8": 9 * (32 * 32 * 16 * (3 + 2 * 16) + 16 * 16 * 32 * (16 + 32))
    + 9 * 8 * 8 * 64 * (32 + 64)
    + 640
    + (16 * 16 * 32 * 16 + 8 * 8 * 64 * 32),
}


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """The folder of the cards is a copy, and the working folder is empty."""
    folder = tmp_path / "cards"
    shutil.copytree(nbqnn_train.cards.card.CARDS, folder)
    monkeypatch.setattr(nbqnn_train.cards.card, "CARDS", folder)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_card_tells_what_its_graph_is(name):
    card = read_card(name)
    assert hashlib.sha256(card.graph.read_bytes()).hexdigest() == card.sha256
    graph = load(card.graph)
    (source,), (end,) = graph.input_nodes, graph.outputs
    types = tensor_types(graph)
    assert types[source.name].shape == card.shape
    assert types[end].shape[0] == len(card.classes) == 10
    weighted = [node for node in graph.nodes if isinstance(node, (Conv2d, Linear))]
    # A shortcut that copies channels is a convolution with ones.
    learned = [node for node in weighted if np.unique(node.weight).tolist() != [0, 1]]
    assert {node.weight_bits for node in learned} == {card.weight_bits}
    assert card.macs == MACS[card.network]
    assert card.name == name


@pytest.mark.parametrize("name", NAMES)
def test_a_card_names_what_can_be_trained(name):
    card = read_card(name)
    network = build_model(card.network, len(card.classes), card.shape[0])
    assert sum(one.numel() for one in network.parameters()) == card.parameters
    assert all(one.startswith("nbqnn ") for one in card.commands)
    assert all(f"--model {card.network} " in one for one in card.commands[:-1])
    widths = f"--bits {card.weight_bits} --act-bits {card.act_bits} "
    assert any(widths in one for one in card.commands)
    assert card.commands[-1].endswith(f"-o {name}.graph")
    assert card.test_images == 10_000
    assert round(card.error * card.test_images) == pytest.approx(card.error * card.test_images)
    assert card.origins


@pytest.mark.parametrize("name", NAMES)
def test_pictures_and_classes_are_known(name):
    card = read_card(name)
    meaning = read_meaning(meaning_file(card.graph), load(card.graph))
    assert meaning.classes == card.classes
    assert len(meaning.preparation.mean) == card.shape[0]


def test_no_file_is_without_its_card():
    files = {path.name for path in nbqnn_train.cards.card.CARDS.iterdir() if path.is_file()}
    endings = (".graph", ".graph.meaning.json", ".card.json")
    of_cards = {name + ending for name in NAMES for ending in endings}
    assert {name for name in files if not name.endswith(".py")} == {"networks.json", *of_cards}


def test_a_name_stands_for_a_graph(copies):
    assert named_graph(Path("resnet20-3bit")) == copies / "resnet20-3bit.graph"


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir])
def test_what_is_in_the_working_folder_goes_first(copies, make):
    make(Path("resnet20-3bit"))
    assert named_graph(Path("resnet20-3bit")) == Path("resnet20-3bit")


@pytest.mark.parametrize("path", ["gone.graph", "folder/resnet20-3bit", "resnet20-3bit.graph"])
def test_a_path_is_no_name(copies, path):
    assert named_graph(Path(path)) == Path(path)


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("resnet20-3bits", "a trained one such as resnet20-3bit, resnet20-4bit, resnet20-2bit "),
        ("ResNet20-3bit", "a trained one such as resnet20-3bit, .*"),
        ("xyz", f"one of {', '.join(NAMES)},"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(copies, name, offered):
    with pytest.raises(NbqnnError, match=f"^Network must be a file or folder, or {offered}"):
        named_graph(Path(name))
    with pytest.raises(NbqnnError, match=f"^Trained network must be {offered}.*not '{name}'$"):
        read_card(name)


def test_a_damaged_or_missing_graph_is_refused(copies):
    graph = copies / "lenet5-mnist-3bit.graph"
    graph.write_bytes(graph.read_bytes() + b"x")
    with pytest.raises(NbqnnError, match=r"'lenet5-mnist-3bit' is damaged: .*; remedy: install"):
        named_graph(Path("lenet5-mnist-3bit"))
    graph.unlink()
    with pytest.raises(NbqnnError, match=r"'lenet5-mnist-3bit' has no graph: .*; remedy: install"):
        named_graph(Path("lenet5-mnist-3bit"))


def test_torch_is_not_loaded():
    program = (
        "import sys; from nbqnn_train.cards import card_names, read_card; "
        "[read_card(name).graph for name in card_names()]; sys.exit('torch' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, timeout=60).returncode == 0


def test_all_networks_have_figures():
    figures = {one.name: one for one in read_networks().networks}
    assert set(figures) == set(MODELS)
    for card in map(read_card, NAMES):
        if figures[card.network].shape == card.shape:
            assert figures[card.network].macs == card.macs
            assert figures[card.network].parameters == card.parameters


DATA = os.environ.get("NBQNN_DATA")
#: Data set -> its folder in NBQNN_DATA, and a file or folder that is there.
FOLDERS = {
    "cifar10": (".", "cifar-10-batches-py"),
    "fashion-mnist": ("fashion-mnist", "t10k-images-idx3-ubyte.gz"),
    "mnist": ("mnist", "t10k-images-idx3-ubyte.gz"),
}


def _data_dir(data: str) -> Path:
    folder, known = FOLDERS[data]
    if DATA is None or not (Path(DATA) / folder / known).exists():
        pytest.skip(f"NBQNN_DATA names no folder with {folder}/{known}")
    return Path(DATA) / folder


@pytest.mark.parametrize("name", NAMES)
def test_a_slice_of_real_images(name, tmp_path):
    """As many are wrong as the card says, but for chance; a picture's file is the image."""
    card = read_card(name)
    test, count = load_data(card.data, _data_dir(card.data)).test, 200
    graph = load(card.graph)
    classes = np.asarray(run(graph, test.images(slice(count)))).reshape(count, -1).argmax(axis=1)
    wrong = int((classes != test.labels[:count]).sum())
    deviation = (count * card.error * (1 - card.error)) ** 0.5
    assert abs(wrong - count * card.error) <= 3.5 * deviation + 1
    pixels = test.pixels[7].transpose(1, 2, 0).squeeze()
    Image.fromarray(pixels).save(tmp_path / "image.png")
    preparation = read_meaning(meaning_file(card.graph), graph).preparation
    prepared = preparation.prepare(read_picture(tmp_path / "image.png"), card.shape)
    np.testing.assert_array_equal(prepared, test.images(slice(7, 8))[0])
