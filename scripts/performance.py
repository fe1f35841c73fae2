"""Measures networks on the configurations for the ZCU102: cycles, GOP/s, utilization.

Weights are random: cycles do not depend on them. Cycles come from the model
(:mod:`hw.model.cycles`) or, on request, from the Verilated RTL. Then every output code is compared
with the interpreter's. Clock rates are those that a configuration asks for; nothing here has run on
a board.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hw.boards.presets import load_config
from hw.compiler import compile_graph
from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import BoardMemory, MemoryTiming
from hw.contract.program import Program
from hw.model.cycles import estimate_cycles
from hw.synth.area import Area
from hw.synth.power import PowerEstimate
from nbqnn_train.graph import Conv2d, Graph, NbqnnError, load, save
from nbqnn_train.graph.results import Result
from sim.results import SimulationResult

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sim.design import Design

__all__ = ["NETWORKS", "Measurement", "PerformanceResult", "full_name", "measure", "network_graph"]

#: Network -> shape of its input, and classes where the network can be told their number.
NETWORKS: dict[str, tuple[tuple[int, ...], int | None]] = {
    "alexnet": ((3, 224, 224), 1000),
    "vgg16": ((3, 224, 224), 1000),
    "resnet18": ((3, 224, 224), 1000),
    "resnet50": ((3, 224, 224), 1000),
    "densenet121": ((3, 224, 224), 1000),
    "mobilenet_v1": ((3, 224, 224), 1000),
    "resnet20": ((3, 32, 32), 10),
    "nbq": ((3, 32, 32), 10),
    "mobilenet_v2": ((3, 224, 224), 1000),
    "mobilenet_v3_large": ((3, 224, 224), 1000),
    "efficientnet_b0": ((3, 224, 224), 1000),
    "shufflenet_v2": ((3, 224, 224), 1000),
    "yolov3_tiny": ((3, 416, 416), None),
    "yolox_nano": ((3, 416, 416), None),
    "ssd_mobilenet_v2": ((3, 300, 300), None),
    "unet": ((3, 256, 256), None),
    "espcn": ((1, 360, 640), None),
    "resnet8": ((3, 32, 32), 10),
    "mobilenet_v1_quarter": ((3, 96, 96), None),
    "ds_cnn": ((1, 49, 10), None),
    "autoencoder": ((640,), None),
}
#: Module of :mod:`scripts.networks` -> its networks. The others are :mod:`nbqnn_train.models`'.
_MODULES = {
    "mobile": ("mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0"),
    "shuffle": ("shufflenet_v2",),
    "detection": ("yolov3_tiny", "ssd_mobilenet_v2"),
    "yolox": ("yolox_nano",),
    "images": ("unet", "espcn"),
    "mlperf_tiny": ("mobilenet_v1_quarter", "ds_cnn", "autoencoder"),
}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One network on one configuration, ``batch`` images at a time.

    source : "rtl" or "model".
    cycles : cycles per image.
    model_cycles : cycles per image by the model, for either source.
    stalls : cycles per image in which the array takes no step, by cause (docs/hardware/stalls.md).
    images_checked : images whose codes were compared with the interpreter's.
    mismatches : images with codes that differed.

    Fields with ``conv`` are those of the convolutions alone, from the end of the layer before to
    their own end.
    """

    derived: ClassVar[tuple[str, ...]] = (
        "images_per_second",
        "gops",
        "conv_gops",
        "utilization",
    )

    network: str
    preset: str
    act_bits: int
    lanes: int
    clock_mhz: int
    source: str
    cycles: int
    model_cycles: int
    macs: int
    conv_cycles: int
    conv_macs: int
    stalls: dict[str, int] = field(default_factory=dict)
    batch: int = 1
    images_checked: int = 0
    mismatches: int = 0

    @property
    def images_per_second(self) -> float:
        return self.clock_mhz * 1e6 / self.cycles

    @property
    def gops(self) -> float:
        """GOP/s over the whole network: two operations per multiply-accumulate."""
        return 2 * self.macs * self.images_per_second / 1e9

    @property
    def conv_gops(self) -> float:
        """GOP/s over the convolutions; 0 where there are none."""
        if not self.conv_cycles:
            return 0.0
        return 2 * self.conv_macs * self.clock_mhz * 1e6 / self.conv_cycles / 1e9

    @property
    def utilization(self) -> float:
        return self.macs / (self.cycles * self.lanes)


@dataclass(frozen=True, kw_only=True)
class PerformanceResult(Result):
    """Several networks, and of their configurations the areas and what power is estimated."""

    kind: ClassVar[str] = "performance"

    networks: tuple[Measurement, ...]
    area: dict[str, Area]
    estimated_power: dict[str, PowerEstimate] = field(default_factory=dict)


def network_graph(
    network: str, act_bits: int, graphs: Path, *, weight_bits: int = 3, seed: int = 0
) -> Graph:
    """The network with random weights, quantized and exported; kept in ``graphs``."""
    if network not in NETWORKS:
        raise NbqnnError(f"network must be one of {', '.join(NETWORKS)}, not {network!r}")
    path = graphs / f"{network}_w{weight_bits}_a{act_bits}_s{seed}.graph"
    if path.is_file():
        return load(path)
    import torch

    from nbqnn_train.convert import QuantConfig, calibrate, convert
    from nbqnn_train.export import export_graph
    from nbqnn_train.models.registry import build_model

    shape, classes = NETWORKS[network]
    torch.manual_seed(seed)
    model = build_model(full_name(network), classes, shape[0])
    images = torch.randn(2, *shape)
    _normalize(model, images)
    quantized = convert(
        model, QuantConfig(weight_bits=weight_bits, act_bits=act_bits), example=images[:1]
    )
    calibrate(quantized, [images])
    graph = export_graph(quantized.eval(), input_shape=shape)
    graphs.mkdir(parents=True, exist_ok=True)
    save(graph, path)
    return graph


def _normalize(model: "nn.Module", images: "Tensor") -> None:
    """Takes over the images' means and variances, so that values neither vanish nor grow."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(images)


def full_name(network: str) -> str:
    """The network's name for :func:`nbqnn_train.models.registry.build_model`."""
    for module, names in _MODULES.items():
        if network in names:
            return f"scripts.networks.{module}:{network}"
    return network


def measure(
    network: str,
    preset: str,
    graphs: Path,
    *,
    batch: int = 1,
    rtl_images: int = 0,
    memory: BoardMemory | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Measurement:
    """Compiles a network for a preset, for ``batch`` images in a run, and counts its cycles.

    memory : timing of the memory behind the AXI ports; None means no limit but the ports'.
    rtl_images : number of random images that the Verilated RTL runs.
    report : is called with lines of progress.
    """
    config = load_config(preset=preset)
    report(f"{network} for {preset}: graph and program")
    graph = network_graph(network, config.act_bits, graphs)
    program = compile_graph(graph, config, batch=batch)
    timing = None if memory is None else memory.timing(config.clock_mhz)
    estimate = estimate_cycles(program, timing)
    cycles = model_cycles = round(estimate.cycles / batch)
    per_image = program.per_image({"cycles": layer.cycles} for layer in estimate.layers)
    by_layer = {name: values["cycles"] for name, values in per_image.items()}
    stalls = estimate.stalls
    mismatches = 0
    if rtl_images:
        report(f"{network} for {preset}: {rtl_images} images on the RTL")
        result = _on_rtl(program, rtl_images, timing)
        cycles, mismatches = round(result.cycles_per_image), result.mismatches
        by_layer = {layer.name: layer.cycles for layer in result.layers}
        stalls = {cause: round(stalled * batch) for cause, stalled in result.stalls.items()}
    # Layers are the same for all images, so those of the first are taken.
    macs: dict[str, int] = {}
    for layer in program.layers:
        if layer.image == 0:
            macs[layer.name] = macs.get(layer.name, 0) + layer.macs
    convolutions = [
        name for name, count in macs.items() if count and isinstance(graph[name], Conv2d)
    ]
    return Measurement(
        network=network,
        preset=preset,
        act_bits=config.act_bits,
        lanes=config.multiplies_per_cycle,
        clock_mhz=config.clock_mhz,
        source="rtl" if rtl_images else "model",
        cycles=cycles,
        model_cycles=model_cycles,
        macs=sum(layer.macs for layer in program.layers) // batch,
        conv_cycles=round(sum(by_layer[name] for name in convolutions)),
        conv_macs=sum(macs[name] for name in convolutions),
        stalls={cause: round(stalled / batch) for cause, stalled in stalls.items()},
        batch=batch,
        images_checked=rtl_images,
        mismatches=mismatches,
    )


@cache
def _design(config: AcceleratorConfig) -> "Design":
    """The accelerator, generated once for all networks."""
    from hw.rtl.generate import accelerator_verilog, origin_of
    from sim.design import Design

    verilog = accelerator_verilog(config)
    return Design(verilog, origin_of(verilog))


def _on_rtl(program: Program, count: int, timing: MemoryTiming | None) -> SimulationResult:
    from sim.simulate import simulate_program

    rng = np.random.default_rng(0)
    x = {
        node.name: rng.normal(size=(count, *node.shape)).astype(np.float32)
        for node in program.graph.input_nodes
    }
    return simulate_program(program, x, design=_design(program.config), timing=timing)
