"""What is simulated is what is built: ``simulate --hw`` runs the Verilog in the folder."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from hw.boards.presets import PRESETS
from hw.compiler import compile_graph, save_program
from hw.contract.origin import Origin, rtl_digest
from hw.contract.program import load_program
from hw.rtl.generate import generate
from hw.synth.build import read_build
from nbqnn_train.graph import NbqnnError, save
from scripts.cli import main
from sim.design import built_design, generated_design
from tests.cli.networks import small_graph

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a build, a program for it and an image."""
    folder = tmp_path_factory.mktemp("made")
    save(small_graph(), folder / "graph")
    generate(TINY, folder / "build")
    command = ["compile", str(folder / "graph"), "--hw", str(folder / "build")]
    assert main([*command, "-o", str(folder / "program")]) == 0
    image = np.random.default_rng(5).normal(0, 2, (1, 1, 8, 8)).astype(np.float32)
    np.save(folder / "x.npy", image)
    return folder


def simulate(folder, *options):
    program, images = str(folder / "program"), str(folder / "x.npy")
    return main(["simulate", program, "--input", images, *map(str, options)])


@pytest.fixture
def inverted(made, tmp_path):
    """A copy of the build in whose Verilog WLAST is inverted on its way out."""
    text = (made / "build" / "rtl" / "nbqnn.v").read_text()
    for pattern, replacement in (
        (r"\.(\w*wlast)\(m_axi_wlast\)", r".\1(good_wlast)"),
        (
            r"\n  wire m_axi_wlast;",
            "\n  wire m_axi_wlast, good_wlast;\n  assign m_axi_wlast = ~good_wlast;",
        ),
    ):
        text, count = re.subn(pattern, replacement, text)
        assert count == 1
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "nbqnn.v").write_text(text)
    (tmp_path / "hw.json").write_bytes((made / "build" / "hw.json").read_bytes())
    return tmp_path


def test_the_build_as_it_is(made):
    result = made / "right.json"
    assert simulate(made, "--hw", made / "build", "--json", result) == 0
    content = json.loads(result.read_text())
    verilog = (made / "build" / "rtl" / "nbqnn.v").read_text()
    assert content["build"]["rtl"] == rtl_digest(verilog)
    assert content["build"] == load_program(made / "program").build.to_dict()
    assert (content["as_generated"], content.get("error")) == (True, None)


def test_an_inverted_wlast_is_seen(made, inverted, capsys):
    """In the build's Verilog: elaborating anew would not see it."""
    result = made / "wrong.json"
    assert simulate(made, "--hw", inverted, "--json", result) == 1
    out = capsys.readouterr().out
    assert "note: the Verilog of the build is not what generate wrote" in out
    assert "0 images were right, then a run failed: cycle" in out
    content = json.loads(result.read_text())
    assert (content["mismatches"], content["as_generated"]) == (1, False)
    assert re.match(r"cycle \d+: WLAST is \d with \d+ beats", content["error"])
    assert content["build"]["rtl"] == rtl_digest((inverted / "rtl" / "nbqnn.v").read_text())
    # Such a build is nothing to synthesize, nor a program for another one to run on it.
    with pytest.raises(NbqnnError, match=r"rtl/nbqnn\.v must have the digest [0-9a-f]{12} of hw"):
        read_build(inverted).check_as_generated()


def test_what_does_not_fit_together(made, capsys):
    program = load_program(made / "program")
    stale = Origin(rtl="0" * 64, tools={}, commit="abc")
    save_program(replace(program, build=stale), made / "stale")
    x = str(made / "x.npy")
    fits = program.build.short
    for options, other in (
        (["--hw", str(made / "build")], f"build '{made / 'build'}'"),
        ([], "what is generated now"),
    ):
        assert main(["simulate", str(made / "stale"), "--input", x, *options]) == 2
        error = capsys.readouterr().err
        assert re.fullmatch(
            f"nbqnn: error: the program must be of the same RTL as {other}, "
            f"but is of 0{{12}} of commit abc, not {fits}; remedy: .*\n",
            error,
        ), error
    # What was compiled for no build runs on any of its configuration, and on no other.
    alone = compile_graph(small_graph(), TINY)
    assert built_design(alone, made / "build").origin == program.build
    assert generated_design(alone).origin == program.build
    other = compile_graph(small_graph(), replace(TINY, name="other", act_depth=2048))
    with pytest.raises(NbqnnError, match=r"must have the program's configuration 0x[0-9a-f]+ \(o"):
        built_design(other, made / "build")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ({}, "build must have the fields rtl, tools and commit"),
        ([], "build must have the fields"),
        ({"rtl": "0" * 63, "tools": {}, "commit": None}, "build's rtl must be 64 hexadecimal"),
        ({"rtl": "0" * 64, "tools": {"a": 1}, "commit": None}, "build's tools must be versions"),
        ({"rtl": "0" * 64, "tools": {}, "commit": "a\nb"}, "build's commit must be a word"),
    ],
)
def test_origins_that_are_none(made, tmp_path, build, message):
    values = json.loads((made / "build" / "hw.json").read_text()) | {"build": build}
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "nbqnn.v").write_bytes((made / "build" / "rtl" / "nbqnn.v").read_bytes())
    (tmp_path / "hw.json").write_text(json.dumps(values))
    with pytest.raises(NbqnnError, match=message):
        read_build(tmp_path)
