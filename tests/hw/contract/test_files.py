"""Output files are there whole or not at all."""

import re

import pytest

from hw.contract.files import write_text
from nbqnn_train.graph.errors import NbqnnError


def test_text_arrives_as_it_is_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    write_text(path, "2ᵏ\n\r\n")
    assert path.read_bytes() == "2ᵏ\n\r\n".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_files_are_as_readable_as_any_other(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failure_half_way_leaves_the_old_file_and_nothing_beside(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["taken", "file/inside"])
def test_a_place_that_cannot_be_written_is_named(tmp_path, place):
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("old")
    message = rf"^file '{re.escape(str(tmp_path / place))}' cannot be written: .*$"
    with pytest.raises(NbqnnError, match=message):
        write_text(tmp_path / place, "new")
    assert (tmp_path / "file").read_text() == "old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "taken"]
