"""The graph's file: what is written is read, and nothing else is."""

import hashlib
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbqnn_train.graph import (
    Conv2d,
    Graph,
    GraphError,
    Input,
    Requantize,
    graph_digest,
    load,
    run_codes,
    save,
)
from nbqnn_train.graph.packing import pack_weights, packed_size, stored_weights, unpack_weights
from tests.graph.strategies import Case, cases
from tests.nightly import examples

_PREFIX = 16


def _graph() -> Graph:
    nodes = (
        Input(name="x", shape=(3, 4, 4), bits=8, signed=False, exponent=-8),
        Conv2d(
            name="conv",
            input="x",
            weight=np.resize([1, -2, 4, 0, -4], (2, 3, 3, 3)),
            weight_bits=3,
            weight_exponent=[-3, 100],
            acc_bits=20,
        ),
        Requantize(
            name="y",
            input="conv",
            multiplier=[40000, 1],
            bias=[-7, 1 << 40],
            shift=[18, 30],
            bits=8,
            signed=True,
            exponent=-3,
            low=-128,
            high=127,
        ),
    )
    return Graph(nodes=nodes, outputs=("y",))


@pytest.fixture
def data(tmp_path):
    """The bytes of a good file."""
    save(_graph(), tmp_path / "good.nbqnn")
    return (tmp_path / "good.nbqnn").read_bytes()


def _sealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def _with_header(data: bytes, change) -> bytes:
    """``data`` with another header, sizes and checksum put right."""
    (length,) = struct.unpack_from("<I", data, 12)
    header = json.loads(data[_PREFIX : _PREFIX + length])
    changed = change(header)
    header = header if changed is None else changed
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    rest = data[_PREFIX + length : -32]
    return _sealed(data[:12] + struct.pack("<I", len(text)) + text + rest)


@settings(max_examples=examples(80))
@given(case=cases())
def test_what_is_saved_is_loaded(case: Case, tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "a.nbqnn"
    save(case.graph, path)
    again = load(path)
    assert again == case.graph
    assert path.read_bytes()[-32:].hex() == graph_digest(again)
    outputs = run_codes(again, case.codes, trace=True)
    for name, codes in run_codes(case.graph, case.codes, trace=True).items():
        assert np.array_equal(outputs[name], codes)


def test_equal_graphs_are_equal_bytes(tmp_path, data):
    save(load(tmp_path / "good.nbqnn"), tmp_path / "again.nbqnn")
    assert (tmp_path / "again.nbqnn").read_bytes() == data
    other = replace(_graph(), nodes=(replace(_graph().nodes[0], exponent=0), *_graph().nodes[1:]))
    assert graph_digest(other) != graph_digest(_graph())


def test_a_field_that_came_later_is_written_where_it_is_unusual(tmp_path, data):
    graph = replace(_graph(), nodes=(replace(_graph().nodes[0], ties="even"), *_graph().nodes[1:]))
    save(graph, tmp_path / "even.nbqnn")
    assert load(tmp_path / "even.nbqnn") == graph
    assert b'"ties":"even"' in (tmp_path / "even.nbqnn").read_bytes()
    assert b"ties" not in data


def test_numpy_integers_are_stored_as_integers(tmp_path):
    graph = _graph()
    same = replace(graph.nodes[0], bits=np.int64(8), shape=tuple(np.array([3, 4, 4])))
    assert graph_digest(replace(graph, nodes=(same, *graph.nodes[1:]))) == graph_digest(graph)


def test_the_layout_is_the_specified_one(data):
    """Read by hand, as SPEC.md says."""
    assert data[:8] == bytes.fromhex("894e42514e4e0d0a")
    version, length = struct.unpack_from("<II", data, 8)
    assert version == 1
    header = json.loads(data[16 : 16 + length])
    assert header["outputs"] == ["y"]
    assert [node["op"] for node in header["nodes"]] == ["Input", "Conv2d", "Requantize"]
    assert header["nodes"][1]["weight"] == {"encoding": "pow2", "shape": [2, 3, 3, 3]}
    assert header["nodes"][2]["multiplier"] == {"encoding": "i4", "shape": [2]}
    section = data[16 + length :]
    number = int.from_bytes(section[:21], "little")  # 54 weights of 3 bits
    codes = [number >> 3 * j & 7 for j in range(54)]
    values = {0: 0, 1: 1, 2: 2, 3: 4, 5: -1, 6: -2, 7: -4}
    assert [values[code] for code in codes] == _graph()["conv"].weight.ravel().tolist()
    assert np.frombuffer(section[21:23], "i1").tolist() == [-3, 100]
    assert np.frombuffer(section[23:31], "<i4").tolist() == [40000, 1]
    assert np.frombuffer(section[31:47], "<i8").tolist() == [-7, 1 << 40]
    assert section[47:49] == bytes([18, 30])
    assert section[49:] == hashlib.sha256(data[:-32]).digest()


@given(bits=st.integers(2, 6), count=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_packing(bits, count, seed):
    random = np.random.default_rng(seed)
    index = random.integers(0, 2 ** (bits - 1), count)
    weight = np.array(
        [
            0 if i == 0 else int(s) << int(i) - 1
            for i, s in zip(index, random.choice([-1, 1], count), strict=True)
        ]
    )
    codes = stored_weights(weight, bits)
    assert codes.tolist() == [
        (i if w >= 0 else i + 2 ** (bits - 1)) for i, w in zip(index, weight, strict=True)
    ]
    section = pack_weights(weight, bits)
    assert len(section) == packed_size(count, bits)
    number = int.from_bytes(section, "little")
    assert number == sum(int(code) << bits * j for j, code in enumerate(codes))
    assert unpack_weights(section, bits, [count], "weight").tolist() == weight.tolist()


def test_weights_of_3_bits_take_less_than_a_ninth():
    weight = np.random.default_rng(0).choice([0, 1, -1, 2, -2, 4, -4], (128, 1024))
    section = pack_weights(weight, 3)
    assert len(section) * 9 <= weight.size * 4


def test_every_truncation_is_refused(tmp_path, data):
    path = tmp_path / "short.nbqnn"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(GraphError, match=r"^Graph file '.*short\.nbqnn': "):
            load(path)


def test_every_damaged_byte_is_refused(tmp_path, data):
    path = tmp_path / "damaged.nbqnn"
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(GraphError):
            load(path)


def _huge_header(data: bytes) -> bytes:
    return _sealed(data[:12] + struct.pack("<I", 0xFFFFFFFF) + data[16:-32])


def _set(where: str, value):
    """Changes one entry of the header: ``nodes.1.groups``."""

    def change(header):
        *parents, last = where.split(".")
        item = header
        for part in parents:
            item = item[int(part) if isinstance(item, list) else part]
        item[int(last) if isinstance(item, list) else last] = value

    return lambda data: _with_header(data, change)


def _dropped(data: bytes) -> bytes:
    return _with_header(data, lambda header: header["nodes"][1].pop("groups") and None)


def _negative_zero(data: bytes) -> bytes:
    (length,) = struct.unpack_from("<I", data, 12)
    body = bytearray(data[:-32])
    body[16 + length] = body[16 + length] & ~7 | 4
    return _sealed(bytes(body))


def _leftover_bits(data: bytes) -> bytes:
    (length,) = struct.unpack_from("<I", data, 12)
    body = bytearray(data[:-32])
    body[16 + length + 20] |= 0x80
    return _sealed(bytes(body))


def _blank(data: bytes) -> bytes:
    (length,) = struct.unpack_from("<I", data, 12)
    return _sealed(data[:12] + struct.pack("<I", length + 1) + b" " + data[16:-32])


def _nested(data: bytes) -> bytes:
    text = b"[" * 200_000
    return _sealed(data[:12] + struct.pack("<I", len(text)) + text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "not a graph"),
        (lambda data: b"PK\x03\x04" + data, "not a graph"),
        (lambda data: data[:8] + struct.pack("<I", 3) + data[12:], "version must be 1 or 2, not 3"),
        (lambda data: data + b"\0", "bytes left over"),
        (_huge_header, "a header of 4294967295 bytes does not fit"),
        (_blank, "no canonical JSON"),
        (_nested, "no canonical JSON"),
        (lambda data: _with_header(data, lambda header: [1]), "fields nodes and outputs only"),
        (_set("extra", 1), "fields nodes and outputs only"),
        (_set("nodes", 1), "must be lists"),
        (_set("outputs", [1]), "outputs must be names"),
        (_set("nodes.1", "conv"), "node 1 must be an object"),
        (_set("nodes.1.op", "Softmax"), "node 1: op must be one of Add, "),
        (_set("nodes.1.op", []), "node 1: op must be one of Add, "),
        (_set("nodes.1.op", "Node"), "node 1: op must be one of Add, "),
        (_set("nodes.1.colour", 1), r"node 1 \(Conv2d\): unknown field 'colour'"),
        (_dropped, r"node 1 \(Conv2d\): field 'groups' is missing"),
        (_set("nodes.1.groups", 1.0), "groups must be an integer, a name, a bool or a list"),
        (_set("nodes.1.groups", None), "groups must be an integer, a name, a bool or a list"),
        (_set("nodes.1.groups", True), "groups must be in 1..65536, not True"),
        (_set("nodes.0.ties", "up"), r"node 0 \(Input\): field 'ties' must be left out where it"),
        (_set("nodes.0.ties", "down"), "ties must be up, even or odd, not 'down'"),
        (_set("nodes.1.stride", [[1], 1]), "stride must be a list of integers or of names"),
        (_set("nodes.1.weight", [1]), "weight must have the fields encoding and shape only"),
        (_set("nodes.1.weight.encoding", "i1"), "encoding of weight must be one of pow2"),
        (_set("nodes.1.weight.encoding", []), "encoding of weight must be one of pow2"),
        (_set("nodes.2.shift.encoding", "pow2"), "encoding of shift must be one of i1, i2, i4, i8"),
        (_set("nodes.1.weight.shape", []), "shape of weight must be 1..4 positive integers"),
        (_set("nodes.1.weight.shape", [2, 0, 3, 3]), "shape of weight must be 1..4 positive"),
        (_set("nodes.1.weight.shape", [2] * 5), "shape of weight must be 1..4 positive"),
        (_set("nodes.1.weight.shape", [2, 3.0, 3, 3]), "shape of weight must be 1..4 positive"),
        (_set("nodes.1.weight.shape", [(1 << 32) - 1] * 4), "does not fit the file"),
        (_set("nodes.1.weight_bits", 64), "weight_bits must be in 2..6"),
        (_set("nodes.1.weight.shape", [2, 3, 3, 2]), "the header describes 42 bytes"),
        (_set("nodes.1.weight.shape", [2, 3, 9]), "weight must have 4 dimensions"),
        (_set("nodes.2.bias.encoding", "i4"), "the header describes 41 bytes"),
        (_set("nodes.0.exponent", 10**30), "exponent must be in -128..127"),
        (_set("nodes.0.name", "\ud800"), "must be 1..200 printable characters"),
        (_negative_zero, "weight number 0 is a negative zero"),
        (_leftover_bits, "bits after the last weight must be 0"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, data, change, message):
    path = tmp_path / "bad.nbqnn"
    path.write_bytes(change(data))
    with pytest.raises(GraphError, match=message) as error:
        load(path)
    assert "\n" not in str(error.value)
    assert "bad.nbqnn" in str(error.value)


def test_only_the_narrowest_encoding_is_accepted(tmp_path):
    """Otherwise one graph would have several files."""
    image = replace(_graph().nodes[0], shape=(1,))
    y = replace(_graph().nodes[2], input="x", multiplier=[1], bias=[300], shift=[2])
    path = tmp_path / "wide.nbqnn"
    save(Graph(nodes=(image, y), outputs=("y",)), path)
    data = path.read_bytes()
    # The sections are multiplier (1 byte), bias (2 bytes) and shift (1 byte).
    sections = data[-36:-35] + struct.pack("<i", 300) + data[-33:-32]
    wide = data[:-36] + sections + data[-32:]
    path.write_bytes(_with_header(wide, lambda h: h["nodes"][1]["bias"].update(encoding="i4")))
    with pytest.raises(GraphError, match="bias: encoding must be i2 for its values, not i4"):
        load(path)


def test_files_that_cannot_be_read_or_written(tmp_path):
    with pytest.raises(GraphError, match=r"nothing\.nbqnn' cannot be read: No such file"):
        load(tmp_path / "nothing.nbqnn")
    with pytest.raises(GraphError, match="cannot be read: Is a directory"):
        load(tmp_path)
    with pytest.raises(GraphError, match="cannot be written: No such file"):
        save(_graph(), tmp_path / "no" / "folder.nbqnn")
    (tmp_path / "folder").mkdir()
    with pytest.raises(GraphError, match="cannot be written: Is a directory"):
        save(_graph(), tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_invalid_graph_leaves_the_old_file(tmp_path):
    path = tmp_path / "graph.nbqnn"
    path.write_bytes(b"old")
    with pytest.raises(GraphError):
        save(replace(_graph(), outputs=()), path)
    assert path.read_bytes() == b"old"
    save(_graph(), path)
    assert load(path) == _graph()
    assert [p.name for p in tmp_path.iterdir()] == ["graph.nbqnn"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def _paths(item, path=()):
    yield path
    children = (
        item.items()
        if isinstance(item, dict)
        else enumerate(item)
        if isinstance(item, list)
        else ()
    )
    for key, child in children:
        yield from _paths(child, (*path, key))


@settings(max_examples=examples(400))
@given(draw=st.data())
def test_a_changed_header_is_a_graph_or_one_clear_error(draw, tmp_path_factory):
    """Any entry of the header replaced by anything, with size and checksum put right."""
    folder = tmp_path_factory.mktemp("fuzz")
    save(_graph(), folder / "good.nbqnn")
    data = (folder / "good.nbqnn").read_bytes()

    def change(header):
        path = draw.draw(st.sampled_from(list(_paths(header))[1:]))
        item = header
        for part in path[:-1]:
            item = item[part]
        item[path[-1]] = draw.draw(_JSON)

    (folder / "bad.nbqnn").write_bytes(_with_header(data, change))
    message = None
    try:
        graph = load(folder / "bad.nbqnn")
    except GraphError as error:
        message = str(error)
    if message is None:
        assert _sealed_equal(graph, folder)
    else:
        assert "\n" not in message
        assert len(message) < 500


def _sealed_equal(graph: Graph, folder) -> bool:
    """What is accepted is what would be written."""
    save(graph, folder / "again.nbqnn")
    return (folder / "again.nbqnn").read_bytes() == (folder / "bad.nbqnn").read_bytes()


@settings(max_examples=examples(200))
@given(noise=st.binary(max_size=200), keep=st.integers(0, 60))
def test_noise_is_refused(noise, keep, tmp_path_factory):
    folder = tmp_path_factory.mktemp("noise")
    save(_graph(), folder / "good.nbqnn")
    head = (folder / "good.nbqnn").read_bytes()[:keep]
    (folder / "bad.nbqnn").write_bytes(_sealed(head + noise))
    with pytest.raises(GraphError):
        load(folder / "bad.nbqnn")


@pytest.mark.parametrize("final", ["softmax", "log_softmax", "sigmoid", "argmax"])
def test_what_is_applied_last_is_version_2(tmp_path, final):
    graph = replace(_graph(), final=(final,))
    save(graph, tmp_path / "g")
    data = (tmp_path / "g").read_bytes()
    version, length = struct.unpack_from("<II", data, 8)
    assert version == 2
    assert json.loads(data[16 : 16 + length])["final"] == [final]
    assert load(tmp_path / "g") == graph
    assert graph_digest(graph) != graph_digest(_graph())


@pytest.mark.parametrize(
    ("final", "message"),
    [
        (("softmax", "none"), r"^Graph final must hold one name for each output, not "),
        (("tanh",), r"^Graph final must be of none, softmax, .*, not 'tanh'$"),
        (("none",), r"^Graph final must be empty where nothing is applied$"),
        ("argmax", r"^Graph final must hold one name for each output, not 'argmax'$"),
    ],
)
def test_other_things_applied_last(tmp_path, final, message):
    with pytest.raises(GraphError, match=message):
        save(replace(_graph(), final=final), tmp_path / "g")


def test_version_2_without_what_it_is_for(tmp_path):
    save(replace(_graph(), final=("softmax",)), tmp_path / "g")
    data = (tmp_path / "g").read_bytes()
    for change, message in (
        (lambda header: header.update(final=[]), "version must be 1 where final is empty"),
        (lambda header: header.pop("final") and None, "the fields final, nodes and outputs only"),
        (lambda header: header.update(final=[3]), "Graph final must be of none, softmax"),
    ):
        (tmp_path / "bad").write_bytes(_with_header(data, change))
        with pytest.raises(GraphError, match=message):
            load(tmp_path / "bad")
