"""hw.contract.program: there and back; damaged, foreign and hostile files end in one line."""

import io
import json
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hw.compiler import compile_graph
from hw.contract.isa import Load, Region, Store, pack, read_commands
from hw.contract.program import ProgramError, load_program, save_program
from nbqnn_train.graph import NbqnnError, save
from tests.hw.accelerators import VERILATED
from tests.hw.networks import Network, small_network

CONFIG = VERILATED["shift_64"]
PROGRAM = compile_graph(small_network(act_bits=8, weight_bits=3, scale=False), CONFIG, traced=True)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "program"
    save_program(PROGRAM, path)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.program"


def entries_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def refused(path, message=".*"):
    with pytest.raises(ProgramError, match=f"^{message}$") as caught:
        load_program(path)
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text


def test_there_and_back(path):
    save_program(PROGRAM, path)
    loaded = load_program(path)
    assert loaded.config == PROGRAM.config
    assert loaded.graph == PROGRAM.graph
    for field in ("commands", "parameters", "inputs", "outputs", "traced", "layers"):
        assert getattr(loaded, field) == getattr(PROGRAM, field)
    again = path.with_name("again")
    save_program(loaded, again)
    assert again.read_bytes() == path.read_bytes()
    # Nothing is left beside them.
    assert sorted(file.name for file in path.parent.iterdir()) == ["again", path.name]


def test_missing(path):
    refused(path, f"program {path} cannot be read: No such file or directory")
    refused(path.parent, r"program .* cannot be read: Is a directory")


def test_truncated(path, content):
    for length in (0, 1, 30, len(content) // 2, len(content) - 30, len(content) - 1):
        path.write_bytes(content[:length])
        refused(path, f"{path} is not a program or is truncated: .*")


def test_other_files(path, tmp_path):
    path.write_text("not a program")
    refused(path, f"{path} is not a program or is truncated: .*")
    save(PROGRAM.graph, path)
    refused(path, f"(program )?{path} is (not a program|damaged).*")
    write(path, {"program.json": b"{}"})
    refused(path, f"{path} is not a program: it must hold program.json, .*, not 'program.json'")


def test_compressed(path, content):
    """Small files that would unpack into large ones."""
    write(path, entries_of(content), zipfile.ZIP_DEFLATED)
    refused(path, f"program {path} is damaged: entry program.json")


def test_flipped_bits(path, content):
    """CRCs see all of the content, checks the rest: refused, or loaded as what was saved."""
    rng = np.random.default_rng(2)
    for position in [*range(60), *rng.integers(0, len(content), 150).tolist()]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            loaded = load_program(path)
        except ProgramError as error:
            assert "\n" not in str(error)
        else:
            # Time stamps and the like.
            assert loaded == PROGRAM


def changed(content, change):
    entries = entries_of(content)
    described = json.loads(entries["program.json"])
    replacement = change(described)
    entries["program.json"] = json.dumps(described if replacement is None else replacement).encode()
    return entries


def setting(*keys, to):
    """A change of one place in the description."""

    def change(described):
        place = described
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return change


def removing(*keys):
    def change(described):
        place = described
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return change


LAYOUT = ("inputs", 0, "layout")
OFFSET = ("inputs", 0, "offset")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setting("format", to="another"), ".* is not a program: format is 'another'"),
        (
            setting("version", to=4),
            "program .* must be of version 5, not 4; remedy: compile its graph again",
        ),
        (setting("version", to="1"), ".* damaged: field 'version' must be of type int, not str"),
        (removing("config"), "program .* is damaged: field 'config' is missing"),
        (removing("layers"), "program .* is damaged: field 'layers' is missing"),
        (setting("config", to=[]), ".* damaged: field 'config' must be of type dict, not list"),
        (setting("config", "lanes", to="4"), ".*: config: lanes must be of type int, not '4'"),
        (setting("config", "lanes", to=-4), r".*: config: lanes must be 2\.\.\.256, not -4"),
        (setting("config", "speed", to=1), ".*: config: unknown field 'speed'; known are .*"),
        (removing("config", "lanes"), ".*: config: field 'lanes' is missing"),
        (setting("layers", to=5), ".* damaged: field 'layers' must be of type list, not int"),
        (setting("layers", to=[3]), ".* name must be a field of a table, not of a int"),
        (setting("layers", 0, "macs", to=-1), r".* field 'macs' must be 0\.\.\.\d+, not -1"),
        (setting("layers", 0, "name", to=None), ".* field 'name' must be of type str, not NoneT.*"),
        (setting("outputs", to={}), ".* damaged: field 'outputs' must be of type list, not dict"),
        (setting("outputs", to=[]), r".* damaged: outputs must be \['logits', 'clip'\], not \[\]"),
        (setting("outputs", 0, "name", to="conv1"), ".* port 'conv1' must be an activation of .*"),
        (setting("outputs", 0, "name", to="act1"), ".* port 'act1' must be laid out for .*"),
        (setting("traced", 0, "name", to="gone"), ".* port 'gone' must be an activation of .*"),
        (setting("inputs", 0, "name", to="flat"), ".* port 'flat' must be laid out for .*"),
        (setting(*OFFSET, to=-1), r".* field 'offset' must be 0\.\.\.4294967295, not -1"),
        # Memory that no tensor justifies.
        (setting(*OFFSET, to=4096), r".* port 'image' must end within 4096 bytes, .*"),
        (setting("outputs", 1, "offset", to=1 << 31), r".* port 'clip' must end within .*"),
        (setting("scratch_bytes", to=1 << 33), r".* scratch_bytes must be at most \d+, not 858.*"),
        (setting("scratch_bytes", to=4096), r".* must end within 4096 bytes of scratch, not at .*"),
        (setting("inputs", 0, "offset", to=1 << 70), r".* 'offset' must be 0\.\.\..*, not 1180.*"),
        (setting("inputs", 0, "offset", to=True), ".* 'offset' must be of type int, not bool"),
        (setting(*LAYOUT, "channels", to=0), r".* field 'channels' must be 1\.\.\.\d+, not 0"),
        (setting(*LAYOUT, "channels", to=4), ".* port 'image' must be laid out for .*"),
        (setting(*LAYOUT, "height", to=-8), r".* field 'height' must be 1\.\.\.\d+, not -8"),
        (setting(*LAYOUT, "width", to=1 << 40), r".* field 'width' must be 1\.\.\.\d+, not \d+"),
        (setting(*LAYOUT, "width", to=7.0), ".* field 'width' must be of type int, not float"),
        (setting(*LAYOUT, "pitch", to=0), r".* field 'pitch' must be 1\.\.\.65536, not 0"),
        (setting(*LAYOUT, "offset", to=0), ".* port 'image' must be laid out for .*"),
        (removing(*LAYOUT, "offset"), ".* damaged: field 'offset' is missing"),
        (lambda described: [1], ".* format must be a field of a table, not of a list"),
        (lambda described: described.clear(), ".* field 'format' is missing"),
    ],
)  # fmt: skip
def test_damaged_description(path, content, change, message):
    write(path, changed(content, change))
    refused(path, message)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff\xfe", b"nul", b"[" * 100_000, b"9" * 5000, b'{"format": NaN}']
)
def test_description_that_is_no_json(path, content, text):
    write(path, entries_of(content) | {"program.json": text})
    refused(path, f"program {path} is damaged: .*")


@pytest.mark.parametrize("commands", [b"", b"x" * 127, b"x" * 129, bytes(128 << 16)])
def test_damaged_commands(path, content, commands):
    write(path, entries_of(content) | {"commands.bin": commands})
    refused(path, r"program .* is damaged: commands must be 1\.\.\.65535 descriptors of 128 .*")


def test_parameters_that_are_cut_off(path, content):
    for length in (0, 1, len(PROGRAM.parameters) - 1):
        write(path, entries_of(content) | {"parameters.bin": PROGRAM.parameters[:length]})
        refused(path, rf"program .* is damaged: command \d+ must end within the {length} bytes of "
                      r"region PARAMETERS, not at \d+")  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"offset": 1 << 20}, {"words": 1 << 15}, {"rows": 2, "offset_stride": 1 << 20}],
    ids=lambda change: "".join(change),
)
def test_transfers_beyond_their_region(path, content, change):
    """The last transfer of each region."""
    commands = read_commands(PROGRAM.commands)
    last = {
        Region(command.region): number
        for number, command in enumerate(commands)
        if isinstance(command, Load | Store)
    }
    assert len(last) == 4
    for region, number in last.items():
        moved = replace(commands[number], **change)
        stream = b"".join(map(pack, [*commands[:number], moved, *commands[number + 1 :]]))
        write(path, entries_of(content) | {"commands.bin": stream})
        refused(
            path, rf"program .* damaged: command {number} must end within the \d+ .*{region.name}.*"
        )


def test_damaged_graph(path, content):
    write(path, entries_of(content) | {"graph": b"not a graph"})
    refused(path, rf"program {path} is damaged: Graph file 'graph'.*")


def test_another_graph(path, content, tmp_path):
    """One that the ports do not belong to."""
    net = Network(seed=3).add(_input(), "picture", shape=(3,), bits=8, signed=True, exponent=0)
    save(net.linear("fc", 2, 3).requantize("out", 8, True).graph(), tmp_path / "graph")
    write(path, entries_of(content) | {"graph": (tmp_path / "graph").read_bytes()})
    refused(path, f"program {path} is damaged: port 'image' must be an activation of the graph")


def _input():
    from nbqnn_train.graph import Input

    return Input


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), junk=JUNK)
def test_anything_in_place_of_anything(path, content, data, junk):
    """Whatever stands wherever in the description: refused in one line, or harmless."""

    def change(described):
        place = described
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            inner = place[key]
            if not isinstance(inner, (dict, list)) or not inner or data.draw(st.booleans()):
                place[key] = junk
                return
            place = inner

    write(path, changed(content, change))
    try:
        loaded = load_program(path)
    except ProgramError as error:
        assert "\n" not in str(error), error
    else:
        assert loaded.commands == PROGRAM.commands


def test_nothing_is_overwritten_on_failure(path, content, monkeypatch):
    path.write_bytes(b"precious")

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(NbqnnError, match=r"^program .* cannot be written: No space left on devi"):
        save_program(PROGRAM, path)
    assert path.read_bytes() == b"precious"
    assert list(path.parent.iterdir()) == [path]


def test_places_that_cannot_be_written(path):
    path.write_bytes(b"a file")
    with pytest.raises(ProgramError, match=r"^program .* cannot be written: "):
        save_program(PROGRAM, path / "below")
    assert path.read_bytes() == b"a file"


def test_described_config_is_the_program_s(content):
    described = json.loads(entries_of(content)["program.json"])
    assert described["config"] == asdict(CONFIG)
