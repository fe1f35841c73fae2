"""``nbqnn check``: what becomes of a network, layer by layer, before anything is trained."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import prod
from pathlib import Path

import torch
from torch import nn

from hw.boards.presets import load_config
from hw.boards.registry import find_memory
from hw.compiler import compile_graph
from hw.contract.config import AcceleratorConfig
from hw.model.estimate import LayerCost, estimate_program
from hw.spatial.build import SpatialBuild, is_spatial, read_spatial
from hw.synth.build import read_build
from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.data import load_data
from nbqnn_train.export import export_graph
from nbqnn_train.graph import Graph, NbqnnError
from nbqnn_train.graph.limits import MAX_DIMENSION, MAX_ELEMENTS, MAX_FEATURES
from nbqnn_train.graph.report import NodeReport, describe
from nbqnn_train.learn.networks import float_network
from nbqnn_train.quant.reading.operations import Operation
from nbqnn_train.user_code import told
from scripts.check_result import (
    CheckedLayer,
    CheckedModule,
    CheckResult,
    HardwareCost,
    RefusedPlace,
)
from scripts.circuit_cost import circuit_cost, circuit_hardware

__all__ = ["hardware_of", "input_of", "parsed_shape", "run_check"]

#: Number of random inputs from which formats of activations are chosen.
_IMAGES = 8
_MEMORY = "zcu102"


def parsed_shape(text: str) -> tuple[int, ...]:
    """The shape in ``C,H,W``, ``C,L`` or ``F``."""
    if re.fullmatch(r"[1-9]\d{0,8}(,[1-9]\d{0,8}){0,2}", text, re.ASCII) is None:
        raise NbqnnError(f"Shape must be C,H,W, three positive numbers, or F, not {text!r}")
    shape = tuple(int(part) for part in text.split(","))
    largest = MAX_FEATURES if len(shape) == 1 else MAX_DIMENSION
    if max(shape) > largest or math.prod(shape) > MAX_ELEMENTS:
        raise NbqnnError(
            f"Shape must have sizes up to {largest}, and {MAX_ELEMENTS} together, not {text!r}"
        )
    return shape


def input_of(
    model: str, shape: str | None, classes: int | None, data: str | None, data_dir: Path | None
) -> tuple[tuple[int, ...], int | None]:
    """Shape of the input and number of classes: those given, or those of a data set."""
    if (shape is None) == (data is None):
        raise NbqnnError(f"Input of {model!r} must be given by one of --shape C,H,W and --data")
    if shape is not None:
        return parsed_shape(shape), classes
    sets = load_data(data, data_dir)
    return sets.input_shape, sets.classes


def hardware_of(
    build: Path | None, preset: str | None, act_bits: int
) -> AcceleratorConfig | SpatialBuild:
    """The configuration of a build or a preset, or else the ZCU102's for this activation width.

    The build of a circuit stands for any circuit with its clock and interval.
    """
    if build is not None and preset is not None:
        raise NbqnnError("Hardware must be given by one of --hw and --preset, not both")
    if build is not None:
        if is_spatial(build):
            return read_spatial(build)[0]
        return read_build(build).config
    return load_config(preset=preset or ("zcu102-8bit" if act_bits <= 8 else "zcu102-16bit"))


def run_check(
    model: str,
    shape: tuple[int, ...],
    classes: int | None,
    quantization: QuantConfig,
    hardware: AcceleratorConfig | SpatialBuild,
    pretrained: Path | None = None,
) -> CheckResult:
    """Reads, converts and compiles a network as it is, with random inputs.

    For the build of a circuit the network is planned as a circuit like it.
    """
    torch.manual_seed(0)
    network = float_network(model, classes, shape[0], pretrained).eval()
    try:
        inputs = torch.randn(_IMAGES, *shape, generator=torch.Generator().manual_seed(0))
    except RuntimeError:
        raise NbqnnError(f"Inputs of shape {shape} need more memory than there is") from None
    if isinstance(hardware, SpatialBuild):
        before = circuit_hardware(hardware)
    else:
        before = HardwareCost(name=hardware.name)
    result = CheckResult(
        model=model,
        input_shape=shape,
        accepted=False,
        refusals=(),
        modules=_modules(network, inputs, model),
        layers=(),
        hardware=before,
    )
    stage = "convert"
    try:
        converted = convert(network, quantization, inputs[:1])
        result = replace(result, notes=tuple(converted.notes))
        calibrate(converted, [inputs])
        stage = "export"
        graph = export_graph(converted.eval(), shape)
        result = replace(result, layers=_layers(graph))
        stage = "compile"
        if isinstance(hardware, SpatialBuild):
            cost, layers = circuit_cost(graph, hardware, result.layers)
        else:
            cost, layers = _compiled(graph, hardware, result.layers)
    except NbqnnError as error:
        operations = () if stage == "convert" else converted.reading.operations
        refusals = _refusals(stage, error, operations)
        return replace(result, refusals=refusals, modules=_marked(result.modules, refusals))
    return replace(result, accepted=True, layers=layers, hardware=cost)


def _compiled(
    graph: Graph, hardware: AcceleratorConfig, layers: Sequence[CheckedLayer]
) -> tuple[HardwareCost, tuple[CheckedLayer, ...]]:
    """What an image costs on an accelerator, in all and layer by layer."""
    program = compile_graph(graph, hardware, pack=False)
    estimate = estimate_program(program, find_memory(_MEMORY))
    outputs = {layer.name: layer.output for layer in program.layers}
    cost = HardwareCost(
        name=hardware.name,
        cycles_per_image=estimate.cycles_per_image,
        images_per_second=estimate.images_per_second,
        clock_mhz=estimate.clock_mhz,
        utilization=estimate.utilization,
    )
    return cost, _with_cycles(layers, estimate.layers, outputs)


def _modules(network: nn.Module, inputs: torch.Tensor, model: str) -> tuple[CheckedModule, ...]:
    """The innermost modules in the order in which they are called; uncalled ones have no shape."""
    shapes: dict[str, tuple[int, ...] | None] = {}
    hooks = []
    for path, module in network.named_modules():
        if any(True for _ in module.children()):
            continue

        def remember(_module, _inputs, output, path=path):
            shapes.setdefault(
                path, tuple(output.shape[1:]) if isinstance(output, torch.Tensor) else None
            )

        hooks.append(module.register_forward_hook(remember))
    try:
        with torch.no_grad():
            network(inputs[:1])
    except Exception as error:  # a user's network can raise anything
        raise NbqnnError(
            f"Model {model!r} must fit inputs of shape {tuple(inputs.shape[1:])}: {told(error)}"
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    modules = dict(network.named_modules())
    return tuple(
        CheckedModule(
            path=path,
            kind=type(modules[path]).__name__,
            parameters=sum(p.numel() for p in modules[path].parameters()),
            shape=shape,
            refused=None,
        )
        for path, shape in shapes.items()
    )


def _refusals(
    stage: str, error: NbqnnError, operations: Sequence[Operation]
) -> tuple[RefusedPlace, ...]:
    """An entry for each refusal of a conversion or layer that does not fit; else for the error.

    operations : of the network that was converted, with their places.
    """
    found = getattr(error, "refusals", ())
    if found:
        return tuple(RefusedPlace(stage=stage, **asdict(refusal)) for refusal in found)
    places = {operation.name: operation for operation in operations}
    return tuple(
        _misfit(stage, reason, places) for reason in getattr(error, "reasons", (str(error),))
    )


def _misfit(stage: str, reason: str, places: Mapping[str, Operation]) -> RefusedPlace:
    """The entry of a layer that the hardware does not take."""
    layer = re.match(r"layer ([^\s:]+): ", reason)
    name = layer[1].removesuffix(".out") if layer else ""
    place = places.get(name, Operation("", name, [], path=name))
    field = re.search(r"must fit (\w+) = \d+", reason)
    return RefusedPlace(
        stage=stage,
        path=place.path,
        source=place.source,
        operation=place.operation,
        reason=reason,
        remedy=f"take hardware with more {field[1]}, or a smaller layer" if field else "",
    )


def _marked(
    modules: Sequence[CheckedModule], refusals: Sequence[RefusedPlace]
) -> tuple[CheckedModule, ...]:
    reasons = {one.path: one.reason for one in reversed(refusals) if one.path}
    return tuple(replace(module, refused=reasons.get(module.path)) for module in modules)


def _layers(graph: Graph) -> tuple[CheckedLayer, ...]:
    """One entry for each accumulator with its requantizer, and for each other node."""
    layers: dict[str, CheckedLayer] = {}
    for node in describe(graph):
        name = node.name.removesuffix(".out")
        layer = layers.get(name)
        if layer is None:
            layers[name] = _layer(name, node)
            continue
        layers[name] = replace(
            layer,
            becomes=(*layer.becomes, node.op),
            shape=node.shape,
            act_bits=node.bits,
            map_bytes=_map_bytes(node),
            weight_bytes=layer.weight_bytes + node.bytes,
        )
    return tuple(layers.values())


def _layer(name: str, node: NodeReport) -> CheckedLayer:
    return CheckedLayer(
        name=name,
        becomes=(node.op,),
        shape=node.shape,
        weight_bits=node.weight_bits,
        act_bits=None if node.acc_bits else node.bits,
        acc_bits=node.acc_bits,
        macs=node.macs,
        weight_bytes=node.bytes,
        map_bytes=None if node.acc_bits else _map_bytes(node),
        cycles=None,
        utilization=None,
    )


def _map_bytes(node: NodeReport) -> int:
    return -(-prod(node.shape) * node.bits // 8)


def _with_cycles(
    layers: Sequence[CheckedLayer], estimated: Sequence[LayerCost], outputs: Mapping[str, str]
) -> tuple[CheckedLayer, ...]:
    """The layers with the program's cycles. A program's layer has the name of one of its nodes."""
    known = {layer.name: layer for layer in layers}
    for one in estimated:
        names = (name.removesuffix(".out") for name in (one.name, outputs.get(one.name, "")))
        layer = known.get(next((name for name in names if name in known), one.name), _copy(one))
        cycles = (layer.cycles or 0) + one.cycles
        utilization = one.utilization if layer.name in known else None
        known[layer.name] = replace(layer, cycles=cycles, utilization=utilization)
    return tuple(known.values())


def _copy(cost: LayerCost) -> CheckedLayer:
    """The entry of a layer that the compiler added."""
    nothing = dict.fromkeys(
        ("shape", "weight_bits", "act_bits", "acc_bits", "map_bytes", "cycles", "utilization")
    )
    return CheckedLayer(
        name=cost.name, becomes=("copy",), macs=cost.macs, weight_bytes=0, **nothing
    )
