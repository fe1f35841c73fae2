"""A build folder around an array that synthesizes in seconds."""

from dataclasses import replace

import pytest

from hw.boards.presets import load_config
from hw.rtl.verilog import emit
from tests.hw.synth.designs import Top


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Nothing that an earlier test or run left."""
    monkeypatch.setenv("NBQNN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def build(tmp_path):
    """What ``generate`` leaves, with four processing elements and their like as the RTL."""
    config = replace(load_config(preset="tiny"), clock_mhz=200)
    (tmp_path / "rtl").mkdir()
    (tmp_path / "hw.json").write_text(config.to_json())
    (tmp_path / "rtl" / "nbqnn.v").write_text(emit(Top()))
    return tmp_path
