"""Files that say what inputs and outputs mean: read again, or refused by name."""

import json
import re
from dataclasses import asdict

import pytest

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.inputs.meaning import Meaning, read_meaning, write_meaning
from nbqnn_train.inputs.preparation import Preparation

PREPARATION = Preparation(mean=(0.5,), scale=(0.25,), enlarge=(8, 7))


def test_what_was_written_is_read(tmp_path):
    meaning = Meaning(preparation=PREPARATION, classes=("a", "b"))
    write_meaning(tmp_path / "m.json", meaning)
    assert read_meaning(tmp_path / "m.json") == meaning


RATIO = r"Enlargement must be a ratio of positive integers in 1\.\.\.8, not "


@pytest.mark.parametrize(
    ("preparation", "message"),
    [
        ([1], "preparation must be a table"),
        ("x", "preparation must be a table"),
        ({"enlarge": [1, 0]}, RATIO + r"\(1, 0\)"),
        ({"enlarge": [8, -5]}, RATIO + r"\(8, -5\)"),
        ({"enlarge": [1.5, 1]}, RATIO + r"\(1\.5, 1\)"),
        ({"enlarge": [1, 2]}, RATIO + r"\(1, 2\)"),
        ({"mean": 5}, ".*"),
        ({"mean": ["a"]}, "Mean must be finite numbers, .*"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, preparation, message):
    if isinstance(preparation, dict):
        preparation = asdict(PREPARATION) | preparation
    file = tmp_path / "m.json"
    file.write_text(json.dumps({"preparation": preparation, "classes": None, "graph": None}))
    with pytest.raises(NbqnnError) as refused:
        read_meaning(file)
    wanted = rf"{re.escape(str(file))} must be as nbqnn wrote it: {message}"
    assert re.fullmatch(wanted, str(refused.value))
