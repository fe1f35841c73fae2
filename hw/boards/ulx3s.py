"""ULX3S: a small open board with a Lattice ECP5, its memory on the chip, a serial line to it."""

from pathlib import Path

from hw.boards.board import Board, Shell
from hw.contract.config import AcceleratorConfig

__all__ = ["BOARD"]


def _shell(config: AcceleratorConfig) -> object:
    from hw.boards.shells.ulx3s import Ulx3s

    return Ulx3s(config)


#: Lattice FPGA-DS-02012, LFE5U-85F: 208 block memories of 18 Kbit.
BOARD = Board(
    name="ulx3s",
    part="LFE5U-85F-6BG381C",
    family="ecp5",
    lut=83_640,
    ff=83_640,
    bram36=104,
    dsp=156,
    constraints=Path(__file__).with_suffix(".lpf"),
    shell=Shell(top="nbqnn_ulx3s", build=_shell),
    presets=(
        AcceleratorConfig(
            name="ulx3s",
            lanes=8,
            filters=8,
            pixels=1,
            post_lanes=4,
            acc_bits=20,
            act_depth=1024,
            weight_depth=256,
            param_depth=64,
            axi_data_width=32,
            axi_address_width=32,
            clock_mhz=65,
        ),
    ),
)
