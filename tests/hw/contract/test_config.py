"""hw.contract.config: what is refused and how, presets, files, digests."""

import json
from dataclasses import asdict, fields, replace

import pytest

from hw.boards.presets import PRESETS, load_config
from hw.contract.config import AcceleratorConfig, ConfigError

TINY = PRESETS["tiny"]
LEAST = {"name": "x", "lanes": 4, "filters": 4, "pixels": 1, "post_lanes": 4}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lanes": 1}, r"lanes must be 2\.\.\.256, not 1"),
        ({"lanes": 512}, r"lanes must be 2\.\.\.256, not 512"),
        ({"lanes": 12}, "lanes must be a power of two, not 12"),
        ({"lanes": 4.0}, r"lanes must be of type int, not 4\.0"),
        ({"lanes": True}, "lanes must be of type int, not True"),
        ({"filters": 0}, r"filters must be 1\.\.\.256, not 0"),
        ({"filters": -8}, r"filters must be 1\.\.\.256, not -8"),
        ({"filters": 6}, "post_lanes must divide filters = 6, which 4 does not"),
        ({"post_lanes": 16}, "post_lanes must divide lanes = 8, which 16 does not"),
        ({"post_lanes": 0}, r"post_lanes must be 1\.\.\.64, not 0"),
        ({"pixels": 17}, r"pixels must be 1\.\.\.16, not 17"),
        ({"pixels": 3, "post_positions": 0}, r"post_positions must be 1\.\.\.3, not 0"),
        ({"pixels": 3, "post_positions": 4}, r"post_positions must be 1\.\.\.3, not 4"),
        ({"act_bits": 1}, r"act_bits must be 2\.\.\.16, not 1"),
        ({"act_bits": 17}, r"act_bits must be 2\.\.\.16, not 17"),
        ({"weight_bits": 1}, r"weight_bits must be 2\.\.\.6, not 1"),
        ({"weight_bits": 7}, r"weight_bits must be 2\.\.\.6, not 7"),
        ({"acc_bits": 49}, r"acc_bits must be 8\.\.\.48, not 49"),
        ({"acc_bits": 9}, "acc_bits must hold one product of 10 bits, not 9"),
        ({"act_depth": 3}, r"act_depth must be 4\.\.\.65536, not 3"),
        ({"act_depth": 1 << 17}, r"act_depth must be 4\.\.\.65536, not 131072"),
        ({"act_depth": 1000}, "act_depth must be a power of two, not 1000"),
        ({"act_depth": 4, "pixels": 3}, r"act_depth must be 8\.\.\.65536, not 4"),
        ({"weight_depth": 3}, "weight_depth must be a power of two, not 3"),
        ({"param_depth": 1}, r"param_depth must be 2\.\.\.65536, not 1"),
        ({"axi_data_width": 48}, "axi_data_width must be one of 32, 64, 128, 256, 512, not 48"),
        ({"axi_address_width": 31}, r"axi_address_width must be 32\.\.\.64, not 31"),
        ({"axi_ports": 3}, "axi_ports must be one of 1, 2, 4, not 3"),
        (
            {"axi_ports": 4, "axi_data_width": 512},
            r"axi_ports \* axi_data_width must be at most 1024, a descriptor, not 4 \* 512",
        ),
        ({"dsp_pixels": 1}, r"dsp_pixels must be 0\.\.\.0, not 1"),
        ({"depthwise_taps": 2}, r"depthwise_taps must be 1\.\.\.1, not 2"),
        ({"pixels": 4, "depthwise_taps": 4}, r"depthwise_taps must be 1\.\.\.3, not 4"),
        (
            {"pixels": 2, "depthwise_taps": 2, "pe": "multiply"},
            'depthwise_taps must be 1 for pe = "multiply", not 2',
        ),
        ({"pixels": 3, "dsp_pixels": -1}, r"dsp_pixels must be 0\.\.\.2, not -1"),
        (
            {"pixels": 2, "dsp_pixels": 1, "pe": "multiply"},
            'dsp_pixels must be 0 for pe = "multiply", not 1',
        ),
        (
            {"pixels": 3, "dsp_pixels": 2, "filters": 7, "post_lanes": 1},
            "dsp_pixels must be 0 for an odd number of filters, not 2 with filters = 7: two "
            "filters share a DSP block",
        ),
        (
            {"pixels": 2, "dsp_pixels": 1, "act_bits": 16, "weight_bits": 4, "acc_bits": 32},
            "dsp_pixels must be 0 for act_bits = 16, weight_bits = 4 and lanes = 8, not 1: two "
            "weights with a sum between them take 33 bits, a DSP block has 27",
        ),
        ({"dsp_filters": 2}, "dsp_filters must be 0 without dsp_pixels, not 2"),
        (
            {"pixels": 4, "dsp_pixels": 2, "dsp_filters": 2},
            "dsp_filters must be 0 for dsp_pixels = 2, not 2 with pixels = 4: 2 more would be in "
            "DSP blocks, and one must not",
        ),
        (
            {"pixels": 2, "dsp_pixels": 1, "dsp_filters": 2},
            "dsp_filters must be 0 for dsp_pixels = 1, not 2 with pixels = 2: 1 more would be in "
            "DSP blocks, and one must not",
        ),
        (
            {"pixels": 3, "dsp_pixels": 1, "dsp_filters": 8},
            r"dsp_filters must be 0\.\.\.6, not 8",
        ),
        (
            {"pixels": 3, "dsp_pixels": 1, "dsp_filters": 3},
            "dsp_filters must be even, not 3: two filters share a DSP block",
        ),
        ({"clock_mhz": 0}, r"clock_mhz must be 1\.\.\.1000, not 0"),
        ({"pe": "divide"}, "pe must be one of shift, multiply, not divide"),
        ({"pe": None}, "pe must be of type str, not None"),
        ({"requant": "float"}, "requant must be one of shift, scale, not float"),
        (
            {"pe": "multiply", "weight_bits": 5, "acc_bits": 40},
            r"weight_bits must give magnitudes below 2\*\*7 for 8-bit multipliers, not 2\*\*14 "
            r"\(weight_bits = 5\)",
        ),
        (
            {"lanes": 256, "filters": 256, "pixels": 16, "post_lanes": 64, "acc_bits": 32},
            r"pixels \* \(\(filters \+ lanes\) \* acc_bits \+ lanes \* act_bits\) must be at most "
            "60000, the bits of a step's results, not 294912",
        ),
        (
            {"lanes": 256, "filters": 128, "post_lanes": 64},
            r"lanes \* \(filters \* weight bits \+ pixels \* act_bits\) must be at most 60000, "
            "the bits of a step's operands, not 100352",
        ),
        ({"name": ""}, "name must be of letters, digits, '-' and '_', not ''"),
        ({"name": "a/b"}, "name must be of letters, digits, '-' and '_', not 'a/b'"),
    ],
)
def test_refused(changes, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        replace(TINY, **changes)


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    config = load_config(preset=name)
    assert config.name == name
    assert config is PRESETS[name]


def test_unknown_preset():
    with pytest.raises(ConfigError, match=r"^preset must be one of tiny, .*, not 'small'$"):
        load_config(preset="small")


@pytest.mark.parametrize("arguments", [{}, {"preset": "tiny", "path": "x.toml"}])
def test_either_preset_or_file(arguments):
    with pytest.raises(
        ConfigError,
        match=r"^a configuration needs either a preset or a file: give --preset NAME or --config F",
    ):
        load_config(**arguments)


@pytest.mark.parametrize("name", PRESETS)
def test_json_there_and_back(name, tmp_path):
    path = tmp_path / "hw.json"
    path.write_text(PRESETS[name].to_json())
    assert load_config(path=path) == PRESETS[name]


def test_toml_with_defaults(tmp_path):
    path = tmp_path / "hw.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in LEAST.items()]
    path.write_text("\n".join([*lines, 'pe = "multiply"', "acc_bits = 32", "act_bits = 16"]))
    config = load_config(path=path)
    assert config == AcceleratorConfig(**LEAST, pe="multiply", act_bits=16, acc_bits=32)
    assert config.weight_bits == 3
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_config(path=path) == config  # as Windows writes it


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        (".toml", "lanes: 8", "configuration .* is not TOML: .*"),
        (".json", "{", "configuration .* is not JSON: .*"),
        (".json", "[1]", "configuration .* must hold fields, not a list"),
        (".json", "9" * 5000, "configuration .* is not JSON: .*"),
        (".json", "[" * 100_000, "configuration .* is not JSON: .*"),
        (".json", "{}", ".*: field 'name' is missing"),
        (".json", json.dumps(LEAST | {"lanez": 4}), ".*: unknown field 'lanez'; known are .*"),
        (".json", json.dumps(LEAST | {"lanes": 5}), ".*: lanes must be a power of two, not 5"),
        (".json", json.dumps(LEAST | {"lanes": "5"}), ".*: lanes must be of type int, not '5'"),
        (".toml", 'name = "x"\nlanes = 4\nfilters = 4\npixels = 1', ".*'post_lanes' is missing"),
    ],
)  # fmt: skip
def test_refused_files(suffix, text, message, tmp_path):
    path = tmp_path / f"hw{suffix}"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"^{message}$") as caught:
        load_config(path=path)
    assert "\n" not in str(caught.value)
    assert "hw." in str(caught.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(ConfigError, match=r"^configuration .*none.toml cannot be read: No such"):
        load_config(path=tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"^configuration .*binary.toml cannot be read: not text"):
        load_config(path=binary)


#: Another allowed value of each field.
OTHERS = {
    "name": "other",
    "lanes": 16,
    "filters": 16,
    "pixels": 2,
    "post_lanes": 2,
    "act_bits": 7,
    "weight_bits": 2,
    "acc_bits": 21,
    "act_depth": 512,
    "weight_depth": 512,
    "param_depth": 32,
    "axi_data_width": 64,
    "axi_address_width": 33,
    "axi_ports": 2,
    "post_positions": 2,
    "pe": "multiply",
    "requant": "scale",
    "tables": True,
    "products": True,
    "dsp_pixels": 1,
    "dsp_filters": 2,
    "depthwise_taps": 2,
    "clock_mhz": 100,
}


@pytest.mark.parametrize("field", [field.name for field in fields(AcceleratorConfig)])
def test_digest(field):
    """Changes with every field that the hardware or its programs depend on, and with no other."""
    one = replace(TINY, pixels=3)
    if field == "dsp_filters":
        one = replace(one, dsp_pixels=1)
    other = replace(one, **{field: OTHERS[field]})
    assert (other.digest == one.digest) == (field in ("name", "clock_mhz"))
    assert 0 <= other.digest < 1 << 32


def test_digest_is_the_same_for_ever():
    """Programs on disk carry it."""
    assert PRESETS["tiny"].digest == 0xB01E7400, hex(PRESETS["tiny"].digest)


@pytest.mark.parametrize("pixels", range(1, 17))
def test_banks(pixels):
    config = AcceleratorConfig(**LEAST | {"pixels": pixels})
    assert pixels < config.banks <= 2 * pixels
    assert config.banks & (config.banks - 1) == 0


def test_derived_widths():
    config = AcceleratorConfig(**LEAST | {"pixels": 3}, act_bits=8, weight_bits=3)
    assert asdict(config)["weight_bits"] == 3
    assert config.multiplies_per_cycle == 48
    # 8 bits, shifted by up to 2.
    assert (config.stored_weight_bits, config.product_bits) == (3, 10)
    factors = replace(config, pe="multiply")
    assert (factors.stored_weight_bits, factors.product_bits) == (8, 16)
    assert config.act_word_bits == 32
    assert (config.weight_word_bits, factors.weight_word_bits) == (48, 128)
