"""The operators that a module applies to an example, in order, by ``torch.export``."""

import copy
import io
import logging
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.pointwise import reading_pointwise
from nbqnn_train.quant.finite import check_finite
from nbqnn_train.quant.reading.aliases import is_plain
from nbqnn_train.quant.reading.randomness import lost_randomness
from nbqnn_train.quant.reading.refusals import NetworkRefused, Refusal
from nbqnn_train.quant.reading.training_only import kept_for_training, mark_functional_dropout
from nbqnn_train.quant.reading.wrappers import uncompiled

__all__ = [
    "BATCH",
    "Example",
    "Program",
    "private_copy",
    "program_of",
    "quiet",
    "source_of",
]

#: Number of images of the example that is read. It is rarely a size of anything else. So it is
#: noticed if a module takes it for a constant.
BATCH = 7
_TORCH = str(Path(torch.__file__).parent)
_PACKAGE = str(Path(__file__).parents[2])
_LONGEST_REASON = 160
_IN_TRAINING = "change it in training only"


@dataclass(frozen=True)
class Example:
    """The arguments of one call of a module; tensors have the batch in front."""

    args: tuple
    kwargs: dict

    @classmethod
    def of(cls, example) -> "Example":
        """From a tensor, a tuple or list of arguments, or a dict of keyword arguments."""
        if isinstance(example, Example):
            return example
        if isinstance(example, Tensor):
            return cls((example,), {})
        if isinstance(example, dict):
            return cls((), dict(example))
        if isinstance(example, (tuple, list)):
            return cls(tuple(example), {})
        raise TypeError(
            f"Example must be a tensor, a tuple of arguments or a dict of keyword arguments, "
            f"not {type(example).__name__}"
        )

    def leaves(self) -> list:
        return pytree.tree_leaves((self.args, self.kwargs))

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of its tensors, without the batch."""
        return tuple(tuple(leaf.shape[1:]) for leaf in self.leaves() if isinstance(leaf, Tensor))

    def shaped(self, shapes: tuple[tuple[int, ...], ...]) -> "Example":
        """The example with tensors of other shapes, which are given without the batch."""
        remaining = iter(shapes)
        return self.map(lambda tensor: tensor.new_zeros(BATCH, *next(remaining)))

    def map(self, change) -> "Example":
        """The example with ``change`` applied to every tensor."""
        args, kwargs = pytree.tree_map_only(Tensor, change, (self.args, self.kwargs))
        return Example(args, kwargs)


@dataclass(frozen=True)
class Program:
    """Operators in order, and the tensors of the module that they read.

    graph : placeholders, operators and one output.
    tensors : of the module by the name of the placeholder; ``paths`` where the module has them.
    inputs : names of the placeholders of the example's tensors.
    modules : by path; ``training`` those that do something in training only, by their key.
    notes : one line each, on what the training of the module has and these operators do not.
    """

    graph: fx.Graph
    tensors: dict[str, Tensor]
    paths: dict[str, str]
    inputs: list[str]
    in_spec: object
    out_spec: object
    modules: dict[str, nn.Module]
    training: dict[int, nn.Module]
    notes: list[str]


def private_copy(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode that shares nothing with ``module``, in float32 or float64.

    Weights that are computed beforehand (pruning, weight norm) are copied as they are. Raises
    :class:`NbqnnError` for weights that are not real and finite, or have no shape yet, and for
    TorchScript.
    """
    for path, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            raise NbqnnError(
                f"{path or 'Module'} must be a module in Python, not TorchScript; remedy: give the "
                "module that was scripted or traced"
            )
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if isinstance(tensor, nn.parameter.UninitializedTensorMixin):
            raise NbqnnError(
                f"{name} must have a shape; remedy: run the network once on an example before it "
                "is converted"
            )
        if tensor.is_complex() or tensor.is_quantized:
            raise NbqnnError(f"{name} must hold real numbers, not {tensor.dtype}")
        check_finite(f"Weights of {type(module).__name__}: {name}", tensor.detach())
    held = pytree.tree_leaves([list(vars(part).values()) for part in module.modules()])
    computed = (value for value in held if isinstance(value, Tensor) and not value.is_leaf)
    memo = {id(value): value.detach().clone() for value in computed}
    try:
        copied = copy.deepcopy(module, memo)
    except Exception as error:  # a user's module can raise anything
        raise NbqnnError(
            f"{type(module).__name__} must be copyable with copy.deepcopy: {_first_line(error)}"
        ) from None
    kinds = {t.dtype for t in copied.parameters() if t.is_floating_point()}
    if kinds - {torch.float32, torch.float64} or len(kinds) > 1:
        copied = copied.float()
    return copied.eval()


def program_of(module: nn.Module, example: Example) -> Program:
    """The program of ``module``, which is a private copy, for inputs like ``example``.

    In-place operations are resolved. Raises :class:`NetworkRefused` where the module cannot be
    read.
    """
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)

    def stretched(tensor: Tensor) -> Tensor:
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        return torch.zeros(BATCH, *tensor.shape[1:], dtype=kind)

    if not example.shapes() or any(
        leaf.dim() < 2 for leaf in example.leaves() if isinstance(leaf, Tensor)
    ):
        raise NbqnnError(
            "Example must hold tensors with the batch in front, such as (N, C, H, W), not "
            f"shapes {[tuple(t.shape) for t in example.leaves() if isinstance(t, Tensor)]}"
        )
    example = example.map(stretched)
    said = io.StringIO()
    try:
        with (
            quiet(),
            redirect_stderr(said),  # torch prints a graph where it gives up
            uncompiled(),
            reading_pointwise(),
            _unchanged(module),
            kept_for_training(module) as training,
        ):
            exported = torch.export.export(module, example.args, example.kwargs)
            mark_functional_dropout(exported.graph, training, module)
            exported.graph_module.recompile()
            if not is_plain(exported.graph):
                exported = exported.run_decompositions({})
    except Exception as error:  # torch.export raises whatever the exported code raises
        raise NetworkRefused(type(module).__name__, [_unreadable(error)]) from None
    sys.stderr.write(said.getvalue())
    signature = exported.graph_signature
    if not _leave_out_state(exported.graph, signature):
        changed = ", ".join(signature.buffers_to_mutate.values())
        reason = f"state that changes in evaluation ({changed})"
        refusal = Refusal("module", "", "", "", reason, _IN_TRAINING)
        raise NetworkRefused(type(module).__name__, [refusal])
    state = exported.state_dict
    tensors: dict[str, Tensor] = {}
    paths = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    for name, target in paths.items():
        found = _attribute(module, target)
        tensors[name] = found if found is not None else state.get(target)
        if tensors[name] is None:
            tensors[name] = exported.constants[target]
    return Program(
        exported.graph,
        tensors,
        paths,
        [name for name in signature.user_inputs if isinstance(name, str)],
        exported.call_spec.in_spec,
        exported.call_spec.out_spec,
        dict(module.named_modules()),
        training,
        _lost(module, example, training),
    )


def _leave_out_state(graph: fx.Graph, signature) -> bool:
    """Leaves out what the module keeps for later, such as a count of its calls. False where what it
    returns depends on that."""
    changed = signature.buffers_to_mutate
    (output,) = graph.find_nodes(op="output")
    returned = [a for a in output.args[0] if getattr(a, "name", None) not in changed]
    needed = {node for node in returned if isinstance(node, fx.Node)}
    for node in reversed(graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    buffers = signature.inputs_to_buffers
    if any(buffers.get(node.name) in changed.values() for node in needed):
        return False
    output.args = (tuple(returned),)
    return True


def _lost(module: nn.Module, example: Example, training: dict[int, nn.Module]) -> list[str]:
    ours = set(map(id, training.values()))
    kept = {path for path, part in module.named_modules() if id(part) in ours}
    with quiet():
        return lost_randomness(module, example, kept)


@contextmanager
def _unchanged(module: nn.Module) -> Iterator[None]:
    """Takes back what the module's parts note in attributes while they run, such as a shape seen
    and what was computed for it: beside traced tensors, which do not stay, it would be wrong."""
    before = [(part, dict(vars(part))) for part in module.modules()]
    try:
        yield
    finally:
        for part, attributes in before:
            vars(part).clear()
            vars(part).update(attributes)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences PyTorch's messages on shapes that do not fit; our error says it in one line."""
    logger = logging.getLogger("torch")
    level = logger.level
    names = ("torch._subclasses.fake_tensor", "torch.export", "torch._export")
    parts = [logging.getLogger(name) for name in names]
    levels = [part.level for part in parts]
    for part in (logger, *parts):
        part.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        for part, before in zip(parts, levels, strict=True):
            part.setLevel(before)


def _attribute(module: nn.Module, target: str) -> Tensor | None:
    for part in target.split("."):
        module = getattr(module, part, None)
    return module if isinstance(module, Tensor) else None


def source_of(stack_trace: str | None) -> str:
    """ "file:line" of the innermost call outside of PyTorch in a node's stack trace."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', stack_trace or "")
    for file, line in reversed(frames):
        if not file.startswith((_TORCH, _PACKAGE, "<")):
            return f"{Path(file).name}:{line}"
    return ""


def _unreadable(error: Exception) -> Refusal:
    frames = traceback.extract_tb(error.__traceback__)
    source = ""
    for frame in reversed(frames):
        if not frame.filename.startswith((_TORCH, _PACKAGE, "<")):
            source = f"{Path(frame.filename).name}:{frame.lineno}"
            break
    kind = type(error).__name__
    if "DataDependent" in kind or "data-dependent" in str(error) or "Guard" in kind:
        return Refusal(
            "module",
            "",
            source,
            "",
            "what is computed depends on values (a Python condition on a tensor)",
            "let the module compute the same for every input",
        )
    if isinstance(error, NetworkRefused):
        return error.refusals[0]
    remedy = "check that the module runs on the example, in evaluation mode"
    if "is a view and is being modified inplace" in str(error):
        reason = "one of several parts of a tensor is changed in place"
        remedy = "give the part a new value, as in a = a.relu() in place of a.relu_()"
        return Refusal("module", "", source, "", reason, remedy)
    if "is not in the correct order or is not found" in str(error):  # of a buffer with += 1
        reason = "state that changes in evaluation (a buffer that is given another tensor)"
        return Refusal("module", "", source, "", reason, _IN_TRAINING)
    return Refusal("module", "", source, "", f"it cannot be read: {_first_line(error)}", remedy)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = lines[0].strip()
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + "…"
