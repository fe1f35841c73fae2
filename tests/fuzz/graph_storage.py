"""Files of graphs for the fuzzer.

Inputs are headers and sections: for three in four the frame around them (magic, version, length,
checksum) and the order and blanks of the JSON are put right, so that the fuzzer gets behind them.
Anything but a graph or a :class:`GraphError` of one line is a crash; so is an accepted file that
would not be written again byte for byte.
"""

import contextlib
import hashlib
import json
import struct
import tempfile
from pathlib import Path

from nbqnn_train.graph import Clip, Flatten, Graph, GraphError, Input, Requantize, load, save

__all__ = ["check", "seed"]

_FOLDER = Path(tempfile.mkdtemp(prefix="nbqnn-fuzz-"))
_MAGIC = b"\x89NBQNN\r\n"


def _framed(data: bytes) -> bytes:
    """A file whose header ends at the last brace of ``data``."""
    end = data.rfind(b"}") + 1
    header = data[:end]
    # What is no JSON stays as it is.
    with contextlib.suppress(ValueError, RecursionError):
        header = json.dumps(json.loads(header), sort_keys=True, separators=(",", ":")).encode()
    body = _MAGIC + struct.pack("<II", 1, len(header)) + header + data[end:]
    return body + hashlib.sha256(body).digest()


def check(data: bytes) -> None:
    """One input of the fuzzer."""
    raw = bool(data) and data[0] % 4 == 0
    file = data[1:] if raw else _framed(data[1:])
    path = _FOLDER / "input"
    path.write_bytes(file)
    try:
        graph = load(path)
    except GraphError as error:
        if "\n" in str(error) or len(str(error)) > 1000:
            raise AssertionError(f"no single line: {error}") from error
        return
    save(graph, _FOLDER / "again")
    if (_FOLDER / "again").read_bytes() != file:
        raise AssertionError("the file that was accepted is not the one that would be written")


def seed() -> bytes:
    """A good header with its sections."""
    nodes = (
        Input(name="x", shape=(1, 2, 2), bits=8, signed=False, exponent=0),
        Requantize(
            name="r",
            input="x",
            multiplier=[3],
            bias=[-300],
            shift=[2],
            bits=8,
            signed=True,
            exponent=1,
            low=-9,
            high=9,
        ),
        Clip(name="c", input="r", low=-1, high=1),
        Flatten(name="f", input="c"),
    )
    save(Graph(nodes=nodes, outputs=("f",)), _FOLDER / "seed")
    return b"\1" + (_FOLDER / "seed").read_bytes()[16:-32]
