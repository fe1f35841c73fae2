"""Files of inputs: what is in them, and what is none."""

import io
import random
import re
import zipfile

import numpy as np
import pytest

from nbqnn_train.graph.errors import NbqnnError
from scripts.images import read_inputs


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_numbers_of_a_machine_with_the_other_byte_order(tmp_path, suffix):
    x = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(path, x.astype(">f4"))
        got = read_inputs(path)
    else:
        np.savez(path, a=x.astype(">f4"))
        got = read_inputs(path)["a"]
    assert got.dtype == np.float32
    assert np.array_equal(got, x)


def test_an_archive_with_another_file(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, x=np.zeros((2, 3), np.float32))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "of a measurement")
    with pytest.raises(NbqnnError) as refused:
        read_inputs(path)
    wanted = "file 'notes.txt' in '.*' must be a .npy file, as numpy.savez writes them"
    assert re.fullmatch(wanted, str(refused.value))


def test_damaged_archives_are_refused_or_hold_numbers(tmp_path):
    """Whatever Python's and NumPy's readers raise: for streams, checksums, headers, methods."""
    file = io.BytesIO()
    x = np.random.default_rng(0).random((8, 30), np.float32)
    np.savez_compressed(file, x=x)
    whole, path, chance = file.getvalue(), tmp_path / "x.npz", random.Random(1)
    refused = 0
    for _ in range(600):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        try:
            assert all(values.dtype == np.float32 for values in read_inputs(path).values())
        except NbqnnError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 300
