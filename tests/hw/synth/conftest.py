"""A build folder around an array that synthesizes in seconds."""

from dataclasses import replace
from functools import cache

import pytest

from hw.boards.presets import load_config
from hw.contract.config import AcceleratorConfig
from hw.rtl.accelerator import Accelerator
from hw.rtl.ultrascale.twins import ultrascale_twin
from hw.rtl.verilog import VerilogLibrary, emit
from tests.hw.synth.designs import Top


@cache
def _parts(config: AcceleratorConfig) -> str:
    """Empty modules with the names of those that UltraScale+ has cells for; nothing uses them."""
    library = VerilogLibrary()
    library.add(Accelerator(config))
    twins = [twin for one in library.components if (twin := ultrascale_twin(one))]
    for twin in twins:
        twin._MustUse__silence = True
    return "".join(f"module {twin.module_name}();\nendmodule\n\n" for twin in twins)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Nothing that an earlier test or run left."""
    monkeypatch.setenv("NBQNN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def build(tmp_path):
    """What ``generate`` leaves, with four processing elements and their like as the RTL."""
    config = replace(load_config(preset="tiny"), clock_mhz=200)
    (tmp_path / "rtl").mkdir()
    (tmp_path / "hw.json").write_text(config.to_json())
    (tmp_path / "rtl" / "nbqnn.v").write_text(_parts(config) + emit(Top()))
    return tmp_path
