# amaranth: UnusedElaboratable=no
"""A circuit between streams that no one here wrote."""

from pathlib import Path

import numpy as np
import pytest

from hw.rtl.verilog import emit
from hw.spatial.lowering import plan_network
from hw.spatial.stream import TOP, CircuitStream
from nbqnn_train.graph import run_codes
from sim.runner import run_bench
from tests.hw.spatial.maps import Maps


def _beats(codes: np.ndarray, bits: int) -> list[list[int]]:
    """Codes (N, C, H, W) as the bytes of each image: a beat for a position, channel 0 lowest."""
    images = []
    for image in codes:
        data = b""
        for position in image.reshape(len(image), -1).T:
            word = sum(
                (int(code) & ((1 << bits) - 1)) << bits * n for n, code in enumerate(position)
            )
            data += word.to_bytes(-(-bits * len(position) // 8), "little")
        images.append(list(data))
    return images


@pytest.mark.timeout(300)
def test_axi_streams_of_cocotbext():
    maps = Maps(6, (2, 4, 3))
    a = maps.conv("x", 2, (3, 3), padding=(1, 1, 1, 1))
    maps.largest(maps.add(a, maps.conv(a, 2, (1, 1))), (2, 2), (1, 1), (0, 1, 0, 0))
    graph = maps.graph()
    codes = np.random.default_rng(7).integers(-16, 16, (12, 2, 4, 3))
    expected = run_codes(graph, {"x": codes})
    bits = graph.input_nodes[0].bits
    design = CircuitStream(plan_network(graph, 3))
    bench = Path(__file__).with_name("bench_stream.py")
    given = {"inputs": _beats(codes, bits), "outputs": _beats(expected, bits)}
    assert run_bench(emit(design), TOP, bench, parameters=given) == 4
