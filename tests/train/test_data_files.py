"""Data sets in files: read, and refused where they are missing or damaged."""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nbqnn_train.data import load_data
from nbqnn_train.data.batches import ordered_loader
from nbqnn_train.data.inert_pickle import Call, InertPickleError, byte_array, read_inert
from nbqnn_train.graph.errors import NbqnnError

RNG = np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def mnist_files(tmp_path):
    """A small MNIST, its training images compressed."""
    arrays = {
        "train-images-idx3-ubyte": RNG.integers(0, 256, (6, 28, 28), np.uint8),
        "train-labels-idx1-ubyte": np.arange(6, dtype=np.uint8),
        "t10k-images-idx3-ubyte": RNG.integers(0, 256, (4, 28, 28), np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(4, dtype=np.uint8),
    }
    for name, array in arrays.items():
        if name == "train-images-idx3-ubyte":
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (tmp_path / name).write_bytes(idx(array))
    return tmp_path, arrays


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx(mnist_files, name):
    folder, arrays = mnist_files
    data = load_data(name, folder)
    assert data.input_shape == (1, 28, 28)
    assert np.array_equal(data.train.pixels[:, 0], arrays["train-images-idx3-ubyte"])
    assert data.test.labels.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(data.train.images() * 255, data.train.pixels, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t10k-labels-idx1-ubyte", b"", "must be an idx file; it has only 0 bytes"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\x03" + bytes(12), "not begin with 00000803"),
        ("t10k-labels-idx1-ubyte", idx(np.zeros(9, np.uint8))[:-1], "must hold 9 bytes .* not 8"),
        ("t10k-labels-idx1-ubyte", idx(np.zeros(9, np.uint8)) + b"x", "must hold 9 bytes .* more"),
        ("t10k-labels-idx1-ubyte", idx(np.full(4, 10, np.uint8)), r"labels must be in 0\.\.9"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\x01" + b"\xff" * 4, "at most 1073741824 bytes"),
        (
            "t10k-images-idx3-ubyte",
            b"\0\0\x08\x03" + bytes(4) + b"\xfd" * 8,
            "at most 1073741824 by",
        ),
        ("t10k-images-idx3-ubyte", idx(np.zeros((4, 2, 2), np.uint8)), "must have shape"),
        ("train-images-idx3-ubyte.gz", b"no gzip", "must be a readable idx file"),
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(bytes(99), mtime=0)[:-9],
            "readable idx file|begin",
        ),
    ],
)
def test_damaged_idx(mnist_files, name, content, message):
    folder, _ = mnist_files
    (folder / name).write_bytes(content)
    with pytest.raises(NbqnnError, match=message):
        load_data("mnist", folder)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10", "cifar100", "folder"])
def test_missing_files(tmp_path, name):
    with pytest.raises(
        NbqnnError, match=r"must be given the folder with its .*, as --data-dir DIR$"
    ):
        load_data(name)
    with pytest.raises(NbqnnError, match="folder must hold "):
        load_data(name, tmp_path)


def binput(index: int) -> bytes:
    return b"q" + bytes([index])


def array_pickle(array: np.ndarray) -> bytes:
    """The opcodes that NumPy under Python 2 wrote, put together by hand."""
    size = b"".join(b"M" + struct.pack("<H", n) for n in array.shape)
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01" + size + b"\x86"
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + struct.pack("<I", array.nbytes) + array.tobytes() + b"tb"
    )


def batch(pixels: np.ndarray, labels: list[int], key: str = "labels") -> bytes:
    items = b"".join(b"K" + bytes([label]) for label in labels)
    name = key.encode()
    return (
        b"\x80\x02}q\x01(U\x04dataq\x02"
        + array_pickle(pixels)
        + b"U"
        + bytes([len(name)])
        + name
        + b"]("
        + items
        + b"e"
        + b"U\x0bbatch_labelU\x03oneu."
    )


@pytest.fixture
def pixels():
    return RNG.integers(0, 256, (3, 3072), np.uint8)


def write_cifar10(folder: Path, pixels: np.ndarray) -> None:
    for number in range(1, 6):
        (folder / f"data_batch_{number}").write_bytes(batch(pixels, [number, 0, 9]))
    (folder / "test_batch").write_bytes(batch(pixels, [1, 2, 3]))


def test_cifar10(tmp_path, pixels):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    write_cifar10(folder, pixels)
    for place in (tmp_path, folder):
        data = load_data("cifar10", place)
        assert data.train.pixels.shape == (15, 3, 32, 32)
        assert np.array_equal(data.test.pixels.reshape(3, -1), pixels)
        assert data.train.labels.tolist() == [1, 0, 9, 2, 0, 9, 3, 0, 9, 4, 0, 9, 5, 0, 9]
        # The first value of each colour, normalized as the pretrained networks expect it.
        first = pixels[0, [0, 1024, 2048]] / 255
        expected = (first - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        np.testing.assert_allclose(data.test.images([0])[0, :, 0, 0], expected, rtol=1e-4)


def test_cifar100(tmp_path, pixels):
    for name in ("train", "test"):
        (tmp_path / name).write_bytes(batch(pixels, [99, 0, 5], "fine_labels"))
    data = load_data("cifar100", tmp_path)
    assert data.classes == 100
    assert data.train.labels.tolist() == [99, 0, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be a CIFAR batch"),
        (b"junk", "must be a CIFAR batch"),
        (b"\x80\x02}q\x01.", "a dictionary with data and labels was expected"),
        (b"\x80\x02K\x01.", "a dictionary with data and labels was expected"),
        (batch(np.zeros((1, 3071), np.uint8), [1]), "rows of 3072 bytes were expected"),
        (batch(np.zeros((1, 3072), np.uint8), [1])[:-4000], "must be a CIFAR batch"),
        (batch(np.zeros((1, 3072), np.uint8), [1, 2]), "one label for each of 1 test images"),
        (batch(np.zeros((1, 3072), np.uint8), [10]), r"labels must be in 0\.\.9, not 10"),
        (b"\x80\x02}(U\x04dataK\x01U\x06labels]u.", "an array was expected"),
    ],
)
def test_damaged_cifar(tmp_path, pixels, content, message):
    write_cifar10(tmp_path, pixels)
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(NbqnnError, match=message):
        load_data("cifar10", tmp_path)


def test_pickles_are_not_run(tmp_path):
    """What would write a file when unpickled stays a description of the call."""
    target = tmp_path / "written"
    name = str(target).encode()
    code = b"\x80\x02c__builtin__\nopen\nU" + bytes([len(name)]) + name + b"U\x01w\x86R."
    value = read_inert(code)
    assert value == Call("__builtin__ open", (str(target), "w"))
    assert not target.exists()
    with pytest.raises(InertPickleError):
        byte_array(value)


@pytest.mark.parametrize(
    "content", [b"", b".", b"0.", b"\x80\x02R.", b"a.", b"u.", b"b.", b"h\x05."]
)
def test_pickles_without_sense(content):
    with pytest.raises(InertPickleError):
        read_inert(content)


@pytest.mark.parametrize(
    "content",
    [
        # Names of names, and tuples of the same tuple twice as a key: 2**200 of them.
        b"]]" + 200 * b"\x94\x93" + b".",
        b"]" + 200 * b"2\x93" + b".",
        b"}(K\x01q\x00" + 200 * b"h\x00h\x00\x86q\x00" + b"K\x01u.",
        b"}K\x01q\x00" + 200 * b"h\x00h\x00\x86q\x00" + b"K\x01s.",
    ],
)
@pytest.mark.timeout(30)
def test_pickles_that_would_grow(content):
    with pytest.raises(InertPickleError):
        read_inert(content)


def test_an_error_quotes_little_of_a_pickle():
    with pytest.raises(InertPickleError, match=r"^no string quotes around b'x") as error:
        read_inert(b"S" + 5000 * b"x" + b"\n.")
    assert len(str(error.value)) <= 200


def test_users_own_data(tmp_path, monkeypatch):
    (tmp_path / "my_own_data.py").write_text(
        "from nbqnn_train.data import load_data\n"
        "def good(folder):\n    return load_data('digits')\n"
        "def bad(folder):\n    return folder\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert load_data("my_own_data:good").classes == 10
        with pytest.raises(NbqnnError, match="my_own_data:bad' must return DataSets, not NoneType"):
            load_data("my_own_data:bad")
        for name, message in (
            ("my_own_data:none", "must have a function 'none'; it has good, bad"),
            ("no_such_module:f", "there is no module 'no_such_module'"),
            (":f", "must be FILE.py:function or module:function, not ':f'"),
        ):
            with pytest.raises(NbqnnError, match=message):
                load_data(name)
    finally:
        sys.modules.pop("my_own_data", None)


@pytest.fixture
def image_folders(tmp_path):
    for part, count in (("train", 2), ("val", 1)):
        for number, name in enumerate(("cat", "dog")):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                size = (300 + 50 * index, 280)
                Image.new("RGB", size, (255 * number, 0, 128)).save(folder / f"{index}.png")
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    return tmp_path


def test_image_folders(image_folders):
    data = load_data("folder", image_folders)
    assert (data.classes, data.input_shape) == (2, (3, 224, 224))
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    images = data.test.images()
    assert images.dtype == np.float32
    assert images.shape == (2, 3, 224, 224)
    expected = (np.array([[0, 0, 128], [255, 0, 128]]) / 255 - [0.485, 0.456, 0.406]) / [
        0.229,
        0.224,
        0.225,
    ]
    np.testing.assert_allclose(images[:, :, 100, 100], expected, rtol=1e-4)
    assert np.array_equal(data.test.images([1])[0], images[1])


def test_no_image_of_a_batch(image_folders):
    """As a process has it that trains with others, where the last batch is small."""
    test = load_data("folder", image_folders).test
    loader = ordered_loader(test, len(test), rank=len(test), world=len(test) + 1)
    ((images, labels),) = loader
    assert tuple(images.shape) == (0, 3, 224, 224)
    assert len(labels) == 0


def test_images_in_folders_within_count(image_folders):
    """As torchvision's ``ImageFolder`` has it; a link that leads back ends there."""
    inner = image_folders / "train" / "cat" / "a" / "b.png"
    inner.mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(inner / "deep.png")
    (inner / "back").symlink_to(image_folders / "train" / "cat", target_is_directory=True)
    train = load_data("folder", image_folders).train
    assert train.labels.tolist() == [0, 0, 0, 1, 1]
    names = [str(path.relative_to(image_folders / "train")) for path in train.paths]
    assert names[:3] == ["cat/0.png", "cat/1.png", "cat/a/b.png/deep.png"]


def test_image_folders_that_differ(image_folders):
    (image_folders / "val" / "emu").mkdir()
    with pytest.raises(NbqnnError, match=r"val must have the classes of .* only one .* has emu"):
        load_data("folder", image_folders)


def test_empty_class(image_folders):
    (image_folders / "val" / "cat" / "0.png").unlink()
    with pytest.raises(NbqnnError, match="Image folder must hold images, unlike"):
        load_data("folder", image_folders)


@pytest.mark.parametrize("keep", [0, 20, 200])
def test_damaged_image(image_folders, keep):
    path = image_folders / "val" / "dog" / "0.png"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(NbqnnError, match=r"dog/0\.png must be an image"):
        load_data("folder", image_folders).test.images()
