"""Verilated accelerators, one of each configuration for all tests of a module."""

import pytest

from hw.contract.config import AcceleratorConfig
from tests.hw.accelerators import verilog_of
from tests.hw.runs import Model, verilated


@pytest.fixture(scope="module")
def accelerator_model():
    """Gives the model of a configuration, built at the first call."""
    models: dict[AcceleratorConfig, Model] = {}

    def of(config: AcceleratorConfig) -> Model:
        if config not in models:
            models[config] = Model(config, verilated(config, verilog_of(config)))
        return models[config]

    yield of
    for model in models.values():
        model.accelerator.close()
