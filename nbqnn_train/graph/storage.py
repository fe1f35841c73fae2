"""One graph, one file: versioned, with named fields and packed weights; see ``SPEC.md``.

Layout, all numbers little-endian::

    8 bytes   magic  89 "NBQNN" 0D 0A
    u32       version
    u32       length of the header
    ...       header: canonical JSON (ASCII, sorted keys, no blanks)
    ...       sections: the arrays, one after the other in the header's order
    32 bytes  SHA-256 of everything before

Equal graphs give equal bytes and every file that is accepted is the one that :func:`save` writes
for its graph. Nothing in a file is executed, and sizes are compared with the file's before anything
is allocated.
"""

import hashlib
import json
import os
import struct
from dataclasses import fields
from math import prod
from pathlib import Path

import numpy as np

from . import nodes as node_types
from .errors import GraphError
from .files import write_file
from .limits import WEIGHT_BITS
from .nodes import Graph, Node
from .operators import OPERATORS
from .packing import pack_weights, packed_size, unpack_weights
from .validate import validate

__all__ = ["VERSION", "array_encoding", "decode", "encode", "graph_digest", "load", "save"]

#: A transfer as text changes the first byte, which is not ASCII, or the line end in the last two.
_MAGIC = b"\x89NBQNN\r\n"
VERSION = 2
#: The version of files of graphs without ``final``, which came with version 2.
_VERSION_WITHOUT_FINAL = 1
#: Fields that came later -> their value in a file without them. This value is never written.
_USUAL = {"ties": "up"}
_PREFIX = struct.Struct("<8sII")
_DIGEST_BYTES = 32
_MAX_HEADER = 1 << 26
_MAX_DIMENSIONS = 4
_INTEGERS = {f"i{size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)}
_KINDS = {
    kind.__name__: kind
    for kind in (getattr(node_types, name) for name in node_types.__all__)
    if issubclass(kind, Node) and kind not in (Node, node_types.Unary)
} | {kind.__name__: kind for kind in OPERATORS}


def save(graph: Graph, path: str | os.PathLike) -> None:
    """Validates ``graph`` and writes it to ``path``, replacing a file there at once."""
    write_file(path, encode(graph), "Graph file", GraphError)


def load(path: str | os.PathLike) -> Graph:
    """The validated graph in the file ``path``. Raises :class:`GraphError` for any other file."""
    try:
        with Path(path).open("rb") as file:
            # The first bytes are checked first, so that a device or a disk image is not read to its
            # end.
            data = file.read(len(_MAGIC))
            if data == _MAGIC:
                data += file.read()
    except OSError as error:
        raise GraphError(f"Graph file {str(path)!r} cannot be read: {error.strerror}") from error
    try:
        return decode(data)
    except GraphError as error:
        raise GraphError(f"Graph file {str(path)!r}: {error}") from None


def graph_digest(graph: Graph) -> str:
    """The SHA-256 at the end of the graph's file, in hexadecimal. Equal graphs have equal ones."""
    return encode(graph)[-_DIGEST_BYTES:].hex()


def _canonical(header: dict) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")


def encode(graph: Graph) -> bytes:
    """The bytes of the file of ``graph``, which is validated."""
    validate(graph)
    sections: list[bytes] = []
    fields_of_graph = {
        "nodes": [_encode_node(node, sections) for node in graph.nodes],
        "outputs": list(graph.outputs),
    }
    if graph.final:
        fields_of_graph["final"] = list(graph.final)
    header = _canonical(fields_of_graph)
    if len(header) > _MAX_HEADER:
        raise GraphError(f"Graph header must have at most {_MAX_HEADER} bytes, not {len(header)}")
    version = VERSION if graph.final else _VERSION_WITHOUT_FINAL
    body = b"".join((_PREFIX.pack(_MAGIC, version, len(header)), header, *sections))
    return body + hashlib.sha256(body).digest()


def _encode_node(node: Node, sections: list[bytes]) -> dict:
    entry: dict = {"op": type(node).__name__}
    for field in fields(node):
        value = getattr(node, field.name)
        if field.name in _USUAL and value == _USUAL[field.name]:
            continue
        if field.type is np.ndarray:
            if field.name == "weight":
                encoding, section = "pow2", pack_weights(value, node.weight_bits)
            else:
                encoding = _smallest(value)
                section = value.astype(_INTEGERS[encoding]).tobytes()
            sections.append(section)
            entry[field.name] = {"encoding": encoding, "shape": list(value.shape)}
        elif isinstance(value, tuple):
            entry[field.name] = [v if isinstance(v, str) else int(v) for v in value]
        elif isinstance(value, (str, bool)):
            entry[field.name] = value
        else:
            entry[field.name] = int(value)
    return entry


def array_encoding(values: np.ndarray) -> np.dtype:
    """Narrowest of the file's integer types that holds every value."""
    return _INTEGERS[_smallest(values)]


def _smallest(values: np.ndarray) -> str:
    """Narrowest encoding that holds every value."""
    for encoding, dtype in _INTEGERS.items():
        info = np.iinfo(dtype)
        if values.min() >= info.min and values.max() <= info.max:
            return encoding
    raise AssertionError("int64 holds every int64")


def decode(data: bytes) -> Graph:
    """The validated graph of a file with these bytes. Raises :class:`GraphError` for any other."""
    if len(data) < len(_MAGIC) or not data.startswith(_MAGIC):
        raise GraphError("not a graph (its first bytes are others)")
    if len(data) < _PREFIX.size + _DIGEST_BYTES:
        raise GraphError(f"truncated: {len(data)} bytes do not hold a graph")
    _, version, length = _PREFIX.unpack_from(data)
    if version not in (_VERSION_WITHOUT_FINAL, VERSION):
        raise GraphError(f"version must be {_VERSION_WITHOUT_FINAL} or {VERSION}, not {version}")
    end = len(data) - _DIGEST_BYTES
    if length > min(_MAX_HEADER, end - _PREFIX.size):
        raise GraphError(f"truncated: a header of {length} bytes does not fit {len(data)} bytes")
    text = data[_PREFIX.size : _PREFIX.size + length]
    header = _parse_header(text, version)
    specs, size = _check_sections(header, end - _PREFIX.size - length)
    if size != end - _PREFIX.size - length:
        raise GraphError(
            f"truncated or with bytes left over: the header describes {size} bytes of arrays, "
            f"the file holds {end - _PREFIX.size - length}"
        )
    if hashlib.sha256(memoryview(data)[:end]).digest() != data[end:]:
        raise GraphError("damaged: the checksum does not match")
    position = _PREFIX.size + length
    decoded = []
    for kind, entry, arrays in specs:
        values = dict(entry)
        for name, (encoding, shape, bits, count) in arrays.items():
            values[name] = _decode_array(
                memoryview(data)[position : position + count],
                encoding,
                shape,
                bits,
                f"{kind.__name__} {entry['name']!r}: {name}",
            )
            position += count
        decoded.append(kind(**values))
    outputs, final = tuple(header["outputs"]), tuple(header.get("final", ()))
    graph = Graph(nodes=tuple(decoded), outputs=outputs, final=final)
    validate(graph)
    return graph


def _parse_header(text: bytes, version: int) -> dict:
    try:
        header = json.loads(text.decode("ascii"), parse_constant=_no_constant)
        canonical = _canonical(header)
    except (ValueError, RecursionError) as error:
        raise GraphError("damaged: the header is no canonical JSON") from error
    # This also refuses keys that occur twice: json keeps the last one only.
    if canonical != text:
        raise GraphError("damaged: the header is no canonical JSON")
    names = (
        ["nodes", "outputs"] if version == _VERSION_WITHOUT_FINAL else ["final", "nodes", "outputs"]
    )
    if not isinstance(header, dict) or sorted(header) != names:
        raise GraphError(f"header must hold the fields {_listed(names)} only")
    if not all(isinstance(header[key], list) for key in names):
        raise GraphError(f"header fields {_listed(names)} must be lists")
    if not all(isinstance(name, str) for name in header["outputs"]):
        raise GraphError("outputs must be names")
    if "final" in header and not header["final"]:
        raise GraphError(f"version must be {_VERSION_WITHOUT_FINAL} where final is empty")
    return header


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _no_constant(name: str):
    raise ValueError(name)


def _check_sections(header: dict, available: int) -> tuple[list, int]:
    """Kind, plain fields and array specifications of each node, and the bytes of all arrays."""
    specs, total = [], 0
    for number, entry in enumerate(header["nodes"]):
        if not isinstance(entry, dict):
            raise GraphError(f"node {number} must be an object")
        kind = _KINDS.get(entry["op"]) if isinstance(entry.get("op"), str) else None
        if kind is None:
            raise GraphError(f"node {number}: op must be one of {', '.join(_KINDS)}")
        known = {field.name: field for field in fields(kind)}
        where = f"node {number} ({kind.__name__})"
        for name in sorted(set(entry) - set(known) - {"op"}):
            raise GraphError(f"{where}: unknown field {name[:60]!r}")
        for name in sorted(set(known) - set(entry) - set(_USUAL)):
            raise GraphError(f"{where}: field {name!r} is missing")
        for name, usual in _USUAL.items():
            if name in known and entry.get(name) == usual:
                raise GraphError(f"{where}: field {name!r} must be left out where it is {usual!r}")
        plain, arrays = {}, {}
        for name, field in known.items():
            if name not in entry:
                continue
            value = entry[name]
            if field.type is np.ndarray:
                arrays[name] = _array_spec(where, name, value, entry.get("weight_bits"))
                total += arrays[name][3]
                if total > available:
                    raise GraphError(
                        f"truncated: {where}: {name} of shape "
                        f"{tuple(arrays[name][1])} does not fit "
                        "the file"
                    )
            elif isinstance(value, list):
                if not all(type(v) in (int, str) for v in value):
                    raise GraphError(f"{where}: {name} must be a list of integers or of names")
                plain[name] = tuple(value)
            elif type(value) in (int, str, bool):
                plain[name] = value
            else:
                raise GraphError(f"{where}: {name} must be an integer, a name, a bool or a list")
        specs.append((kind, plain, arrays))
    return specs, total


def _array_spec(where: str, name: str, value, bits) -> tuple[str, list[int], int, int]:
    """Encoding, shape, weight bits (0 for integers) and size in bytes."""
    if not isinstance(value, dict) or set(value) != {"encoding", "shape"}:
        raise GraphError(f"{where}: {name} must have the fields encoding and shape only")
    encoding, shape = value["encoding"], value["shape"]
    allowed = ["pow2"] if name == "weight" else list(_INTEGERS)
    if encoding not in allowed:
        raise GraphError(f"{where}: encoding of {name} must be one of {', '.join(allowed)}")
    if (
        not isinstance(shape, list)
        or not 0 < len(shape) <= _MAX_DIMENSIONS
        or not all(type(size) is int and 0 < size < 1 << 32 for size in shape)
    ):
        raise GraphError(f"{where}: shape of {name} must be 1..{_MAX_DIMENSIONS} positive integers")
    if encoding != "pow2":
        return encoding, shape, 0, prod(shape) * _INTEGERS[encoding].itemsize
    low, high = WEIGHT_BITS
    if type(bits) is not int or not low <= bits <= high:
        raise GraphError(f"{where}: weight_bits must be in {low}..{high}")
    return encoding, shape, bits, packed_size(prod(shape), bits)


def _decode_array(
    section: memoryview, encoding: str, shape: list[int], bits: int, what: str
) -> np.ndarray:
    if encoding == "pow2":
        return unpack_weights(section, bits, shape, what)
    values = np.frombuffer(section, dtype=_INTEGERS[encoding]).reshape(shape).astype(np.int64)
    if _smallest(values) != encoding:
        raise GraphError(
            f"{what}: encoding must be {_smallest(values)} for its values, not {encoding}"
        )
    return values
