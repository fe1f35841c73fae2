"""report: sample images, the wrong ones first; whose they are, and when there are none."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from nbqnn_train.data import load_data
from nbqnn_train.graph import graph_digest, run, save
from tests.cli.networks import small_graph

FIGURE = re.compile(
    r'<figure(?P<wrong> class="wrong")?><img alt="(?P<alt>[^"]*)" src="data:image/webp;base64,'
    r'(?P<image>[^"]*)"><figcaption><b>(?P<name>[^<]*)</b> (?P<score>\d+)%'
    r"(?:<br>is (?P<label>[^<]*))?</figcaption>"
)


@pytest.fixture
def folder(tmp_path):
    """A graph and 40 images that it takes."""
    results = tmp_path / "results"
    results.mkdir()
    save(small_graph(), results / "network.graph")
    images = np.random.default_rng(3).normal(size=(40, 1, 8, 8)).astype(np.float32)
    np.save(results / "images.npy", images)
    return results


@pytest.fixture
def shown(nbqnn, folder, tmp_path):
    """The page of the folder and the figures on it."""

    def make():
        outcome = nbqnn("report", folder, "-o", "report.html")
        assert outcome.code == 0, outcome
        page = (tmp_path / "report.html").read_text()
        return page, [match.groupdict() for match in FIGURE.finditer(page)]

    return make


def _classes(folder):
    images = np.load(folder / "images.npy")
    return np.asarray(run(small_graph(), images)).argmax(axis=1)


def test_wrong_ones_come_first(folder, shown):
    found = _classes(folder)
    labels = found.copy()
    labels[[5, 17, 30]] = (found[[5, 17, 30]] + 1) % 10
    np.save(folder / "labels.npy", labels.astype(np.int32))
    page, figures = shown()
    assert "37 of 40 images in images.npy are classified rightly" in page
    assert [bool(one["wrong"]) for one in figures] == [True] * 3 + [False] * 21
    pairs = {(one["name"], one["label"]) for one in figures[:3]}
    assert pairs == {(str(found[index]), str(labels[index])) for index in (5, 17, 30)}
    scores = [int(one["score"]) for one in figures[:3]]
    assert scores == sorted(scores, reverse=True)
    # The right ones in the order of the file.
    right = [str(name) for index, name in enumerate(found) if index not in (5, 17, 30)]
    assert [one["name"] for one in figures[3:]] == right[:21]


def test_many_wrong_ones_leave_room_for_right_ones(folder, shown):
    labels = (_classes(folder) + 1) % 10
    labels[:4] = _classes(folder)[:4]
    np.save(folder / "labels.npy", labels)
    page, figures = shown()
    assert "Of the 36 wrong ones the 16 most certain ones come first." in page
    assert [bool(one["wrong"]) for one in figures] == [True] * 16 + [False] * 4


def test_without_labels_nothing_is_wrong(folder, shown):
    np.save(folder / "labels.npy", np.full(39, 1))  # of other images
    page, figures = shown()
    assert "40 images in images.npy, classified by the interpreter" in page
    assert len(figures) == 24
    assert not any(one["wrong"] for one in figures)
    scores = [int(one["score"]) for one in figures]
    assert scores == sorted(scores)


@pytest.mark.parametrize("images", ["none", "other shape", "other type", "not finite", "damaged"])
def test_without_images_there_is_no_section(folder, shown, images):
    file = folder / "images.npy"
    known = np.load(file)
    if images == "none":
        file.unlink()
    elif images == "damaged":
        file.write_bytes(file.read_bytes()[:200])
    else:
        known[-1, 0, 0, 0] = np.nan
        others = {"other shape": np.zeros((4, 3, 8, 8), np.float32), "not finite": known}
        np.save(file, others.get(images, known.astype(np.float64)))
    page, figures = shown()
    assert "Predictions" not in page
    assert not figures


def test_names_and_pictures_of_the_graph(folder, shown):
    """Its meaning names the classes and says how pictures became inputs."""
    names = [f"<{number}> & more" for number in range(10)]
    meaning = {
        "preparation": {"mean": [100.0], "scale": [0.25], "white": 200, "enlarge": [1, 1]},
        "classes": names,
        "graph": graph_digest(small_graph()),
    }
    (folder / "network.graph.meaning.json").write_text(json.dumps(meaning))
    picture = np.arange(64).reshape(8, 8) * 3
    np.save(folder / "images.npy", ((picture[None, None] - 100) / 4).astype(np.float32))
    np.save(folder / "labels.npy", _classes(folder))
    page, figures = shown()
    assert "<0> & more" not in page
    (figure,) = figures
    assert figure["name"] == f"&lt;{_classes(folder)[0]}&gt; &amp; more"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(figure["image"]))).convert("L"))
    assert np.array_equal(pixels, np.floor(picture * 255 / 200 + 0.5))


def test_images_of_a_runs_data_set(folder, shown):
    """They have labels, so they are preferred to those of a file."""
    (folder / "run").mkdir()
    (folder / "run" / "config.toml").write_text('[train]\nmodel = "digits"\ndata = "digits"\n')
    test = load_data("digits").test
    found = np.asarray(run(small_graph(), test.images())).argmax(axis=1)
    page, figures = shown()
    correct = int((found == test.labels).sum())
    assert f"{correct} of {len(test)} test images of digits are classified rightly" in page
    assert sum(bool(one["wrong"]) for one in figures) == 16


def test_code_in_a_folder_is_not_run(folder, shown):
    """The data set of a run may be a user's own function."""
    (folder / "own.py").write_text("raise SystemExit('this must not run')\n")
    (folder / "config.toml").write_text(
        f'[train]\nmodel = "digits"\ndata = "{folder / "own.py"}:load"\n'
    )
    page, _ = shown()
    assert "40 images in images.npy" in page
