"""One convolution from start to done, transfers included, on 128 lanes and one 64-bit AXI port.

    python -m tests.benchmarks.one_layer

3×3, 16 to 16 channels, 16×16 positions, 8-bit activations. An accelerator that NNgen made for it,
with 144 multipliers, takes 5,554 cycles: 74 % of what its multipliers could do at best.
"""

import tempfile
from pathlib import Path

import numpy as np

from hw.boards.registry import find_board
from hw.compiler import compile_graph
from hw.contract.config import AcceleratorConfig
from hw.model.cycles import estimate_cycles
from hw.rtl.generate import generate
from hw.synth import synth_yosys
from nbqnn_train.graph import Input
from sim.simulate import simulate_program
from tests.hw.networks import Network

CONFIG = AcceleratorConfig(
    name="one-layer",
    lanes=16,
    filters=8,
    pixels=1,
    post_lanes=8,
    acc_bits=20,
    act_depth=1024,
    weight_depth=64,
    param_depth=16,
    axi_data_width=64,
)
NNGEN_CYCLES, NNGEN_MULTIPLIERS = 5554, 144


def main():
    net = Network(seed=1).add(Input, "image", shape=(16, 16, 16), bits=8, signed=True, exponent=0)
    net.conv("conv", (16, 16, 3, 3), 3, padding=(1, 1, 1, 1))
    program = compile_graph(net.requantize("out", 8, True).graph(), CONFIG)
    x = np.random.default_rng(0).integers(-128, 128, (2, 16, 16, 16)).astype(np.float32)
    result = simulate_program(program, x)
    assert result.mismatches == 0
    macs = program.layers[0].macs
    ideal, cycles = macs / CONFIG.multiplies_per_cycle, result.cycles_per_image
    print(f"cycles {cycles:,.0f}, of which steps {ideal:,.0f}: {ideal / cycles:.1%}")
    print(f"model {estimate_cycles(program).cycles:,}")
    nngen = macs / NNGEN_MULTIPLIERS / NNGEN_CYCLES
    print(f"NNgen {NNGEN_CYCLES:,} cycles: {nngen:.1%} of {NNGEN_MULTIPLIERS} multipliers")
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder, "build")
        generate(CONFIG, build)
        area = synth_yosys(build, find_board("zcu102"))
    print(area.area, area.array)


if __name__ == "__main__":
    main()
