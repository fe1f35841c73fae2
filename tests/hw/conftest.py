"""Verilated accelerators, one of each configuration for all tests of a module."""

import pytest

from hw.contract.config import AcceleratorConfig
from hw.rtl.accelerator import TOP
from sim.verilated import VerilatedAccelerator
from tests.hw.accelerators import verilog_of
from tests.hw.runs import Model


@pytest.fixture(scope="module")
def accelerator_model():
    """Gives the model of a configuration, built at the first call."""
    models: dict[AcceleratorConfig, Model] = {}

    def of(config: AcceleratorConfig) -> Model:
        if config not in models:
            accelerator = VerilatedAccelerator(
                verilog_of(config),
                TOP,
                data_width=config.axi_data_width,
                ports=config.axi_ports,
                memory_bytes=1 << 20,
                memory_base=0x4000_0000,
            )
            models[config] = Model(config, accelerator)
        return models[config]

    yield of
    for model in models.values():
        model.accelerator.close()
