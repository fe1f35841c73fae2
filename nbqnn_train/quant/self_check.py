"""A converted network beside the module that it comes from, both in full precision."""

import copy
import re

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.reading.operations import Part
from nbqnn_train.quant.reading.program import BATCH, Example, program_of
from nbqnn_train.quant.reading.refusals import NetworkRefused, Refusal
from nbqnn_train.quant.reading.wrappers import uncompiled
from nbqnn_train.quant.real import real_values
from nbqnn_train.user_code import told

__all__ = ["apply_final", "check_network", "fingerprint", "is_fresh", "random_inputs"]

#: Differences that float64 explains, as a share of the largest value; and where constants were
#: computed from parameters, which are rounded to float32.
_NOISE = 1e-8
_ROUNDED_NOISE = 1e-4
_REMEDY = "this is a mistake in reading it: please report it with the module"


def random_inputs(
    shapes: tuple[tuple[int, ...], ...], images: int, dtype: torch.dtype
) -> list[Tensor]:
    """Normal noise, the same in every call."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(images, *shape, generator=generator, dtype=dtype) for shape in shapes]


def check_network(network: QuantNetwork, tensors: list[Tensor] | None = None) -> None:
    """Raises :class:`NetworkRefused`, with the first module that differs, unless ``network``
    computes, without quantization, what its module does.

    tensors : the inputs, (N, ...) each; by default noise.
    """
    origin = network.origin
    if tensors is None:
        tensors = random_inputs(origin.example.shapes(), 2, torch.float64)
    twin, tensors = _in_double(origin.module, [tensor.detach().cpu() for tensor in tensors])
    example = _with(origin.example, tensors)
    with torch.no_grad(), uncompiled():
        expected = _results(twin, example)
        found = _computed(network, example)
    noise = _ROUNDED_NOISE if network.reading.rounded else _NOISE
    if tensors[0].dtype != torch.float64:
        noise = _ROUNDED_NOISE
    for result, own, wanted in zip(network.reading.results, found, expected, strict=True):
        final = network.final[result.output] if isinstance(result, Part) else "none"
        if _differs(apply_final(final, own), wanted, noise):
            raise NetworkRefused(
                type(origin.module).__name__, [_first_difference(network, tensors, noise)]
            )


def _results(module: nn.Module, example: Example) -> list[Tensor]:
    """The tensors that ``module``, which is in float64, returns, flat. It may change its inputs in
    place; ``example`` stays."""
    example = example.map(torch.clone)
    try:
        with _Doubled():
            returned = pytree.tree_leaves(module(*example.args, **example.kwargs))
    except Exception as error:  # a user's module can raise anything
        images = len(next(leaf for leaf in example.leaves() if isinstance(leaf, Tensor)))
        refusal = Refusal(
            "module",
            "",
            "",
            "",
            f"it cannot be run on {images} image{'s' * (images != 1)}: {told(error)}",
            "let it compute the same for batches of any size",
        )
        raise NetworkRefused(type(module).__name__, [refusal]) from None
    return [leaf for leaf in returned if isinstance(leaf, Tensor)]


class _Doubled(TorchFunctionMode):
    """What a module makes float32 is float64, and so is a tensor that it does not own."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is Tensor.float:
            func = Tensor.double
        in_place = re.fullmatch(r"__set(item)?__|__i\w+__|.*[^_]_", func.__name__)

        def doubled(value):
            if value is torch.float32:
                return torch.float64
            known = isinstance(value, Tensor) and value.dtype == torch.float32
            return value.double() if known and not in_place else value

        args, kwargs = pytree.tree_map(doubled, (args, kwargs or {}))
        return func(*args, **kwargs)


def fingerprint(network: QuantNetwork) -> tuple[int, ...]:
    """Numbers that change when weights or statistics do, whatever the device and the precision."""
    tensors = [*network.parameters(), *network.buffers()]
    return tuple(
        int(tensor.detach().float().view(torch.int32).to(torch.int64).sum())
        for tensor in tensors
        if tensor.is_floating_point()
    )


def is_fresh(network: QuantNetwork) -> bool:
    """Whether ``network`` still has the weights with which it was converted."""
    origin = network.origin
    return origin is not None and origin.fingerprint == fingerprint(network)


def apply_final(final: str, value: Tensor) -> Tensor:
    """What a module applies last; see :class:`~nbqnn_train.quant.reading.operations.Output`."""
    if final == "none":
        return value
    if final == "sigmoid":
        return torch.sigmoid(value)
    if final == "argmax":
        return value.argmax(1)
    return getattr(torch, final)(value, 1)


def _in_double(module: nn.Module, tensors: list[Tensor]) -> tuple[nn.Module, list[Tensor]]:
    """A copy in float64, and inputs for it."""
    twin = copy.deepcopy(module).double()
    doubled = [t.double() if t.is_floating_point() else t for t in tensors]
    return twin, doubled


def _computed(network: QuantNetwork, example: Example) -> list[Tensor]:
    """The outputs of ``network`` without quantization, on the CPU."""
    device = next(network.parameters(), torch.zeros(())).device
    example = example.map(lambda tensor: tensor.to(device))
    values = real_values(network, *example.args, **example.kwargs)
    return [value.cpu() for value in network.returned(values, example.shapes())]


def _with(example: Example, tensors: list[Tensor]) -> Example:
    remaining = iter(tensors)
    return example.map(lambda _: next(remaining))


def _differs(found: Tensor, wanted: Tensor, noise: float) -> bool:
    if found.numel() != wanted.numel():
        return True
    found = found.cpu().reshape(wanted.shape)
    if not wanted.is_floating_point():
        return not torch.equal(found, wanted)
    finite = wanted[wanted.isfinite()]  # noise may lie outside of a function's domain
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    return not torch.allclose(found, wanted, rtol=0, atol=noise * scale + 1e-30, equal_nan=True)


def _first_difference(network: QuantNetwork, tensors: list[Tensor], noise: float) -> Refusal:
    """Where the values of the steps first differ from those of the exported program's nodes."""
    shapes = tuple(tuple(tensor.shape[1:]) for tensor in tensors)
    tensors = random_inputs(shapes, BATCH, torch.float64)
    example = _with(network.origin.example, tensors)
    nodes = _node_values(network.origin.module, example, tensors)
    values = real_values(network, *example.args, **example.kwargs)
    by_name = {operation.name: operation for operation in network.reading.operations}
    for step in network.steps:
        last = by_name[step.last]
        wanted = nodes.get(last.node)
        if wanted is not None and _differs(values[step.name], wanted, noise):
            shown = by_name[step.name]
            return Refusal(
                "module",
                shown.path,
                shown.source,
                shown.operation,
                f"{shown.operation or 'the input'} is converted to something else",
                _REMEDY,
            )
    if _mixes_images(network, tensors, noise):
        reason = "what is computed for an image depends on the others of its batch"
        return Refusal("module", "", "", "", reason, "compute each image from itself alone")
    return Refusal("module", "", "", "", "it computes something else than what was read", _REMEDY)


def _mixes_images(network: QuantNetwork, tensors: list[Tensor], noise: float) -> bool:
    """Whether the module computes something else for a batch than for its images one by one."""
    twin, tensors = _in_double(network.origin.module, tensors)
    example = network.origin.example
    with torch.no_grad(), uncompiled():
        whole = _results(twin, _with(example, tensors))
        single = [_results(twin, _with(example, [t[i : i + 1] for t in tensors])) for i in range(2)]
    return any(
        _differs(one[place], result[i : i + 1], noise)
        for i, one in enumerate(single)
        for place, result in enumerate(whole)
    )


def _node_values(module: nn.Module, example, tensors: list[Tensor]) -> dict[str, Tensor]:
    """Values of the nodes of the program in float64, each as it was when it was computed."""
    program = program_of(module, example)
    kept: dict[str, Tensor] = {}
    given = dict(zip(program.inputs, tensors, strict=True))
    values: dict[fx.Node, object] = {}
    with torch.no_grad():
        for node in program.graph.nodes:
            if node.op == "placeholder":
                found = given.get(node.name, program.tensors.get(node.name))
                if isinstance(found, Tensor):
                    found = found.detach().clone()
                    found = found.double() if found.is_floating_point() else found
                values[node] = found
            elif node.op == "call_function":
                args, kwargs = fx.map_arg((node.args, node.kwargs), values.get)
                values[node] = node.target(*args, **kwargs)
            if isinstance(values.get(node), Tensor):
                kept[node.name] = values[node].clone()
    return kept
