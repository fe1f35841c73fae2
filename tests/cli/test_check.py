"""check: what it shows of networks that map, and of those that do not."""

import json

import pytest

from hw.spatial.build import generate_spatial
from tests.hw.spatial.test_network import dense_graph

NETWORKS = """
from torch import nn

def small():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10)
    )

def refused():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4),
        nn.Flatten(), nn.Linear(144, 10), nn.GroupNorm(2, 10)
    )

def deep():
    layers = [layer for _ in range(14) for layer in (nn.Conv2d(1, 1, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1))
"""


@pytest.fixture
def networks(tmp_path):
    (tmp_path / "nets.py").write_text(NETWORKS)


def test_every_layer_is_listed_with_its_cost(nbqnn, networks, tmp_path):
    arguments = ["--model", "nets.py:small", "--shape", "1,8,8", "--preset", "digits"]
    outcome = nbqnn("check", *arguments, "--json", "check.json")
    assert outcome.code == 0, outcome
    assert "all of it maps" in outcome.out
    result = json.loads((tmp_path / "check.json").read_text())
    assert result["accepted"]
    assert result["refusals"] == []
    layers = {layer["becomes"][0]: layer for layer in result["layers"]}
    assert list(layers) == ["Input", "Conv2d", "MaxPool2d", "Flatten", "Linear"]
    conv, linear = layers["Conv2d"], layers["Linear"]
    assert (conv["shape"], conv["weight_bits"], conv["act_bits"]) == ([4, 8, 8], 3, 8)
    assert (conv["macs"], linear["macs"]) == (4 * 9 * 64, 64 * 10)
    assert (conv["map_bytes"], linear["map_bytes"]) == (4 * 64, 10)
    assert conv["cycles"] >= 64 / 2  # two positions at once
    total = result["hardware"]["cycles_per_image"]
    assert total >= sum(layer["cycles"] or 0 for layer in result["layers"]) * 0.9
    assert result["hardware"]["images_per_second"] == pytest.approx(250e6 / total)


@pytest.mark.parametrize(
    ("widths", "preset"),
    [
        (["--act-bits", "4", "--input-bits", "8", "--output-bits", "8"], "zcu102-8bit"),
        (["--act-bits", "4", "--input-bits", "12"], "zcu102-16bit"),
        (["--act-bits", "4", "--output-bits", "12"], "zcu102-16bit"),
    ],
)
def test_the_preset_takes_the_widest(nbqnn, networks, tmp_path, widths, preset):
    arguments = ["--model", "nets.py:small", "--shape", "1,8,8", "--json", "check.json"]
    outcome = nbqnn("check", *arguments, *widths)
    assert outcome.code == 0, outcome
    result = json.loads((tmp_path / "check.json").read_text())
    assert result["hardware"]["name"] == preset
    assert [layer["act_bits"] for layer in result["layers"]][1:4] == [4, 4, 4]


def test_all_that_is_refused_is_said(nbqnn, networks, tmp_path):
    arguments = ["--model", "nets.py:refused", "--shape", "1,8,8", "--json", "check.json"]
    outcome = nbqnn("check", *arguments)
    assert outcome.code == 1, outcome
    result = json.loads((tmp_path / "check.json").read_text())
    assert not result["accepted"]
    assert [module["kind"] for module in result["modules"]] == [
        *("Conv2d", "GroupNorm", "Flatten", "Linear", "GroupNorm")
    ]
    assert result["modules"][3]["parameters"] == 144 * 10 + 10
    text = json.dumps(result["refusals"]).lower()
    assert "group_norm" in text
    assert "group_norm" in outcome.out.lower()


def test_what_does_not_fit_the_hardware_is_said(nbqnn, networks):
    arguments = ["--model", "nets.py:small", "--shape", "1,8,8", "--preset", "digits"]
    outcome = nbqnn("check", *arguments, "--bits", "4")
    assert outcome.code == 1, outcome
    assert outcome.out.count("4-bit weights must be") == 2  # of every layer


def test_many_reasons_take_one_screen(nbqnn, networks, tmp_path):
    """And what was noticed in converting is said."""
    arguments = ["--model", "nets.py:deep", "--shape", "1,8,8", "--preset", "digits"]
    outcome = nbqnn("check", *arguments, "--bits", "4", "--json", "check.json")
    assert outcome.code == 1, outcome
    result = json.loads((tmp_path / "check.json").read_text())
    assert [one["stage"] for one in result["refusals"]] == ["compile"] * 15
    assert outcome.out.count("4-bit") == 10
    assert "and 5 more; --json FILE has all of them" in outcome.out
    assert outcome.out.startswith("note: 30: softmax at the end is left out")
    assert len(result["notes"]) == 1


@pytest.mark.parametrize(
    ("pattern", "arguments"),
    [
        ("Input of 'digits' must be given by one of --shape C,H,W and --data", []),
        ("Shape must be C,H,W, .*, not '1,x'", ["--shape", "1,x"]),
        ("Shape must be C,H,W, .*, not '0,8,8'", ["--shape", "0,8,8"]),
        ("Shape must have sizes up to 65536, .*, not '1,99999,8'", ["--shape", "1,99999,8"]),
        ("Model 'digits' must fit inputs of shape .*: ValueError: .*", ["--shape", "1,9"]),
        ("Hardware must be given by one of .*", ["--shape", "1,8,8", "--hw", "a", "--preset", "b"]),
        ("preset must be one of .*, not 'huge'", ["--shape", "1,8,8", "--preset", "huge"]),
        (r"Weight bits must be in 2\.\.6, not 7", ["--shape", "1,8,8", "--bits", "7"]),
        ("file 'no/x' must be in a folder that exists", ["--shape", "1,8,8", "--json", "no/x"]),
    ],
)
def test_check_refuses(refused, pattern, arguments):
    refused(pattern, "check", "--model", "digits", *arguments)


def test_a_circuits_build_stands_for_circuits_like_it(nbqnn, networks, tmp_path):
    """Any network as a circuit with the clock and the interval of the build."""
    generate_spatial(dense_graph(), tmp_path / "circuit", 200, 2)
    arguments = ["--model", "nets.py:small", "--shape", "1,8,8", "--hw", "circuit"]
    outcome = nbqnn("check", *arguments, "--json", "check.json")
    assert outcome.code == 0, outcome
    result = json.loads((tmp_path / "check.json").read_text())
    cost = result["hardware"]
    assert (cost["cycles_per_image"], cost["clock_mhz"]) == (2 * 64, 200)
    assert cost["images_per_second"] == pytest.approx(200e6 / 128)
    assert cost["lut"] == sum(layer["lut"] for layer in result["layers"]) > 100
    layers = {layer["becomes"][0]: layer["lut"] for layer in result["layers"]}
    assert min(layers[kind] for kind in ("Conv2d", "MaxPool2d", "Linear")) > 0
    assert f"about {cost['lut']:,} look-up tables" in outcome.out
    assert "a position every 2 cycles at 200 MHz" in outcome.out


def test_what_is_no_circuit_is_said(nbqnn, networks, tmp_path):
    generate_spatial(dense_graph(), tmp_path / "circuit", 200)
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\ndef wide():\n    return nn.Sequential(nn.Flatten())\n"
    )
    arguments = ["--model", "own.py:wide", "--shape", "2,4,4", "--hw", "circuit"]
    outcome = nbqnn("check", *arguments, "--json", "check.json")
    assert outcome.code == 1, outcome
    (refusal,) = json.loads((tmp_path / "check.json").read_text())["refusals"]
    assert "a flattened map must be read by Linear in a circuit" in refusal["reason"]
