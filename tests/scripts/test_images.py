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


@pytest.mark.parametrize("lengths", [(6 * 10**47 + 2, 5), (2**63, 0), (2**31, 2**31, 2**31)])
def test_lengths_beyond_all_memory(tmp_path, lengths):
    path, content = tmp_path / "x.npy", io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": lengths}
    np.lib.format.write_array_header_1_0(content, header)
    path.write_bytes(content.getvalue() + bytes(64))
    with pytest.raises(NbqnnError, match=r"^images '.*x.npy' (must be|cannot be read)"):
        read_inputs(path)


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
