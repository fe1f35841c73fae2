"""hw.explore.journal: what was counted is there again, what was not is not."""

from dataclasses import replace

import pytest

from hw.boards.presets import PRESETS
from hw.explore.journal import Journal
from nbqnn_train.graph.errors import NbqnnError

TINY, DIGITS = PRESETS["tiny"], PRESETS["digits"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "new" / "cycles"
    journal = Journal(path, ["graph"])
    assert not path.exists()
    journal.add(TINY, 1234)
    journal.add(DIGITS, 'layer "a": does not fit')
    return path


def test_read_back(file):
    journal = Journal(file, ["graph"])
    assert len(journal) == 2
    assert (journal[TINY], journal[DIGITS]) == (1234, 'layer "a": does not fit')
    assert replace(TINY, clock_mhz=100) not in journal


def test_of_something_else(file):
    before = file.read_bytes()
    journal = Journal(file, ["another graph"])
    assert len(journal) == 0
    assert file.read_bytes() == before
    journal.add(TINY, 5)
    assert len(Journal(file, ["graph"])) == 0
    assert Journal(file, ["another graph"])[TINY] == 5


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-3],
        lambda data: data + b'{"config": 3, "cycles": 1}\n',
        lambda data: data + b"[]\n",
        lambda data: data + b'{"config": {"name": 3}, "cycles": 1}\n',
        lambda data: data + b"\n\n",
    ],
)
def test_a_line_that_is_not_whole_is_counted_anew(file, damage):
    file.write_bytes(damage(file.read_bytes()))
    journal = Journal(file, ["graph"])
    assert journal[TINY] == 1234
    other = replace(TINY, filters=16)
    journal.add(DIGITS, 99)
    journal.add(other, 7)
    again = Journal(file, ["graph"])
    assert [again[config] for config in (TINY, DIGITS, other)] == [1234, 99, 7]
    assert len(again) == 3


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"text\n", b'{"cycles_of": 3}\n'])
def test_what_is_no_journal_is_replaced(file, data):
    file.write_bytes(data)
    journal = Journal(file, ["graph"])
    assert len(journal) == 0
    journal.add(TINY, 8)
    assert Journal(file, ["graph"])[TINY] == 8


def test_what_cannot_be_written(file):
    journal = Journal(file, ["graph"])
    file.unlink()
    file.mkdir()
    with pytest.raises(NbqnnError, match=r"^file '.*cycles' cannot be written: Is a directory$"):
        journal.add(replace(TINY, filters=16), 8)


def test_nothing_is_kept_without_a_file():
    journal = Journal(None)
    journal.add(TINY, 1)
    assert journal[TINY] == 1
