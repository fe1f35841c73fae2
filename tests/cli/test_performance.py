"""scripts.performance: a network's figures by the cycle model, and on the RTL."""

import pytest

from hw.boards.registry import find_memory
from scripts import performance


def test_on_the_rtl_behind_a_boards_memory(tmp_path, monkeypatch):
    monkeypatch.setitem(performance.NETWORKS, "digits", ((1, 8, 8), 10))
    memory = find_memory("zcu102")
    estimated, run = (
        performance.measure("digits", "digits", tmp_path, rtl_images=images, memory=memory)
        for images in (0, 1)
    )
    assert (estimated.source, run.source) == ("model", "rtl")
    assert estimated.cycles == estimated.model_cycles == run.model_cycles
    assert (run.images_checked, run.mismatches) == (1, 0)
    assert run.cycles == pytest.approx(run.model_cycles, rel=0.02)
