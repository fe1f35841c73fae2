"""Image files of every kind become the picture that they show, or are refused by name."""

import numpy as np
import pytest
from PIL import Image

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.inputs.decoding import centred, read_picture

RAMP = np.add.outer(np.arange(16), np.arange(16)).astype(np.uint8) * 8


def grey(path) -> np.ndarray:
    return np.asarray(read_picture(path).convert("L"))


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("sixteen.png", Image.fromarray(RAMP.astype(np.uint16) * 256 + 17)),
        ("sixteen.tif", Image.fromarray(RAMP.astype(np.uint16) * 256 + 17)),
        ("thirty_two.tif", Image.fromarray(RAMP.astype(np.int32) * 256)),
        ("alpha.png", Image.merge("LA", [Image.fromarray(RAMP), Image.new("L", (16, 16), 9)])),
        ("colour.png", Image.fromarray(RAMP).convert("RGB")),
        ("rgba.png", Image.fromarray(RAMP).convert("RGBA")),
        ("palette.png", Image.fromarray(RAMP).convert("P")),
        ("ink.tif", Image.fromarray(RAMP).convert("CMYK")),
        ("plain.pgm", Image.fromarray(RAMP)),
    ],
)
def test_all_show_the_same(tmp_path, name, image):
    image.save(tmp_path / name)
    assert np.abs(grey(tmp_path / name).astype(int) - RAMP).max() <= 1


def test_one_bit_is_black_and_white(tmp_path):
    Image.fromarray(RAMP > 100).save(tmp_path / "bits.png")
    assert np.array_equal(grey(tmp_path / "bits.png"), np.where(RAMP > 100, 255, 0))


def test_a_palette_with_a_transparent_colour(tmp_path):
    image = Image.fromarray(RAMP // 64).convert("P")
    image.putpalette([0, 0, 0, 80, 80, 80, 160, 160, 160, 240, 240, 240])
    image.save(tmp_path / "palette.png", transparency=bytes([0, 255, 128, 255]))
    assert np.array_equal(grey(tmp_path / "palette.png"), RAMP // 64 * 80)


def test_a_turned_camera(tmp_path):
    image = Image.fromarray(RAMP[:8] * 1)
    exif = Image.Exif()
    exif[0x0112] = 6  # what is at the top lies at the right
    image.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(grey(tmp_path / "turned.png"), np.rot90(RAMP[:8], -1))


@pytest.mark.parametrize(
    ("name", "save", "message"),
    [
        ("moving.gif", "animation", "must be one image, not an animation of 2"),
        ("floats.tif", "floats", "must have values of 8 or 16 bits, not floats"),
        ("wide.tif", "wide", r"must have values of 8 or 16 bits, not 0\.\.70000"),
        ("text.png", "text", "must be an image: "),
        ("empty.jpg", "empty", "must be an image: "),
    ],
)
def test_others_are_refused(tmp_path, name, save, message):
    path = tmp_path / name
    if save == "animation":
        frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    elif save == "floats":
        Image.fromarray(RAMP / np.float32(16)).save(path)
    elif save == "wide":
        Image.fromarray(np.array([[0, 70000]], np.int32)).save(path)
    else:
        path.write_bytes(b"text" if save == "text" else b"")
    with pytest.raises(NbqnnError, match=rf"{name} {message}"):
        read_picture(path)


def test_a_file_that_cannot_be_read_is_said_so(tmp_path):
    with pytest.raises(NbqnnError, match=r"gone\.png' cannot be read: No such .*; check the path$"):
        read_picture(tmp_path / "gone.png")
    with pytest.raises(NbqnnError, match=r"' cannot be read: Is a directory; check the path$"):
        read_picture(tmp_path)


def test_the_middle_is_taken(tmp_path):
    """A square in the middle of bars at both sides, at its own size and at half of it."""
    image = Image.new("L", (48, 16), 9)
    image.paste(Image.fromarray(RAMP), (16, 0))
    assert np.array_equal(np.asarray(centred(image, 16, 16)), RAMP)
    half = RAMP.reshape(8, 2, 8, 2).mean(axis=(1, 3))
    small = np.asarray(centred(image, 8, 8)).astype(float)
    assert np.abs(small - half)[2:-2, 2:-2].max() <= 1


def test_a_thread_takes_no_memory():
    assert centred(Image.new("L", (1, 200_000)), 224, 224).size == (224, 224)
