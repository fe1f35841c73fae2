# amaranth: UnusedElaboratable=no
"""hw.rtl.component: names of modules, and that a name says all that its module depends on."""

from dataclasses import fields, replace

import pytest
from amaranth.hdl import Fragment, Module, signed, unsigned
from amaranth.lib.wiring import In, Out

from hw.boards.presets import PRESETS
from hw.contract.config import AcceleratorConfig
from hw.rtl.accelerator import Accelerator
from hw.rtl.component import Component
from hw.rtl.memory.wide import WideMemory
from hw.rtl.ultrascale.elements import Sum, UltrascaleSvpe
from hw.rtl.verilog import VerilogLibrary, emit
from hw.synth.build import family_verilog
from nbqnn_train.graph.errors import NbqnnError
from tests.hw.accelerators import verilog_of

CONFIG = PRESETS["tiny"]


class Masked(Component):
    """Depends on one field of a configuration and on an argument."""

    config_fields = ("lanes",)

    def __init__(self, config: AcceleratorConfig, *, inverted: bool, mode: str = "and"):
        self.config = config
        self.inverted = inverted
        self.mode = mode
        super().__init__({"i": In(config.lanes), "o": Out(config.lanes)})

    def build(self):
        m = Module()
        m.d.comb += self.o.eq(~self.i if self.inverted else self.i)
        return m


class Both(Component):
    """Two components with the same name, which is right only if they are equal."""

    def __init__(self, *parts: Component):
        super().__init__({"o": Out(1)})
        self.parts = parts

    module_name = "both"

    def build(self):
        m = Module()
        for part in self.parts:
            m.submodules += part
        m.d.comb += self.o.eq(1)
        return m


def test_names():
    assert Masked(CONFIG, inverted=False).module_name == f"nbqnn_masked_lanes{CONFIG.lanes}_and"
    name = Masked(CONFIG, inverted=True, mode="or").module_name
    assert name == f"nbqnn_masked_lanes{CONFIG.lanes}_inverted_or"
    assert WideMemory(width=3, depth=8).module_name == "nbqnn_wide_memory_width3_depth8"
    total = Sum(terms=(signed(5), unsigned(4)), width=6)
    assert total.module_name == "nbqnn_sum_s5_u4_width6"


def test_other_fields_of_a_configuration_do_not_matter():
    other = replace(CONFIG, acc_bits=CONFIG.acc_bits + 1)
    text = emit(Both(Masked(CONFIG, inverted=True), Masked(other, inverted=True)))
    assert text.count("module nbqnn_masked") == 1


def test_a_component_with_the_name_of_another_is_refused():
    class Whole(Masked):
        config_fields = None

    other = replace(CONFIG, acc_bits=CONFIG.acc_bits + 1)
    with pytest.raises(ValueError, match=r"^Module name must be unique .* not 'nbqnn_whole_and'"):
        emit(Both(Whole(CONFIG, inverted=False), Whole(other, inverted=False)))


def test_twins_have_the_names_of_what_they_replace():
    options = {"lanes": 4, "act_bits": 4, "weight_bits": 2, "stored_bits": 2, "acc_bits": 12}
    twin = UltrascaleSvpe(**options)
    assert twin.module_name == (
        "nbqnn_svpe_lanes4_act_bits4_weight_bits2_stored_bits2_acc_bits12_radix_bits0"
    )


class _Recorder(AcceleratorConfig):
    """A configuration that remembers which fields somebody asked for."""

    names = frozenset(field.name for field in fields(AcceleratorConfig))

    def __getattribute__(self, name):
        if name in _Recorder.names:
            asked.add(name)
        return super().__getattribute__(name)


asked: set[str] = set()


def recorded(config):
    return _Recorder(**{name: getattr(config, name) for name in _Recorder.names})


CONFIGS = {name: PRESETS[name] for name in ("tiny", "zcu102-8bit", "zcu102-vpe16")}
CONFIGS["hybrid"] = replace(PRESETS["tiny"], pixels=3, dsp_pixels=1, dsp_filters=2)
CONFIGS["quads"] = replace(PRESETS["tiny"], pixels=3, dsp_pixels=2)
ARRAYS = {
    "hybrid": {"CascadeSection", "HybridArray"},
    "quads": {"QuadSection", "HybridArray"},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_name_says_all_that_a_module_depends_on(name):
    """No component looks at a field of its configuration that is not in its name."""
    config = CONFIGS[name]
    library = VerilogLibrary()
    library.add(Accelerator(config))
    seen = set()
    for component in library.components:
        if component.config_fields is None:
            continue
        arguments = component.arguments | {"config": recorded(config)}
        asked.clear()
        again = type(component)(**arguments)
        Fragment.get(again.build(), VerilogLibrary())
        found = set(asked)
        named = set(component.config_fields)
        if "taps_name" in named:
            # It has the taps, and the positions that follow from those that are drained together.
            named |= {"depthwise_taps", "post_positions"}
        assert found <= named, (type(component).__name__, found)
        seen.add(type(component).__name__)
    usual = {"ActivationMemory", "Drain", "PeArray", "Requantizer", "StepSequencer"}
    assert usual | ARRAYS.get(name, set()) <= seen
    if name not in ARRAYS:
        assert not seen & ARRAYS["hybrid"]


def test_verilog_of_another_version_is_refused():
    """Its modules have other names: none of them would get its explicit cells."""
    config = PRESETS["tiny"]
    verilog = verilog_of(config)
    explicit = family_verilog(verilog, config, "xcup")
    assert "LUT6_2 #(" in explicit
    older = verilog.replace("nbqnn_svpe_lanes", "nbqnn_svpe_l")
    with pytest.raises(
        NbqnnError,
        match=r"^the Verilog must have the modules of this version, not lack "
        r"'nbqnn_svpe_lanes\w+' and 1 more; remedy: generate the build again$",
    ):
        family_verilog(older, config, "xcup")
    assert family_verilog(older, config, "ecp5") == older
