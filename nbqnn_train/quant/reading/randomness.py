"""Finds what a module draws at random in training and a graph of its evaluation does not have.

The quantized network is that of the evaluation, so these draws are left out, with a note.
"""

import copy
import random
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.overrides import TorchFunctionMode

from nbqnn_train.quant.reading.refusals import Refusal, counted
from nbqnn_train.quant.reading.wrappers import uncompiled

__all__ = ["lost_randomness"]

_TORCH = str(Path(torch.__file__).parent)
_PACKAGE = str(Path(__file__).parents[2])
_DRAWS = frozenset(
    """
    rand randn randint randperm rand_like randn_like randint_like bernoulli bernoulli_ normal
    normal_ uniform_ random_ multinomial poisson exponential_ geometric_ cauchy_ log_normal_
    gumbel_softmax rrelu rrelu_ dropout dropout_ alpha_dropout alpha_dropout_ feature_dropout
    feature_dropout_ feature_alpha_dropout feature_alpha_dropout_ native_dropout dropout1d
    dropout2d dropout3d
    """.split()  # noqa: SIM905
)
#: A draw of Python's or NumPy's own generator, which all threads share.
_ELSEWHERE = ("", "", "random")
_REASON = "random numbers in training alone are left out"
_REMEDY = (
    "trainings here go without them; drawn in a module without weights that gives back its input "
    "in evaluation, as nn.Dropout does, they stay"
)


def lost_randomness(module: nn.Module, example, kept: set[str]) -> list[str]:
    """A note on what ``module`` draws at random in training only, with the places; or none.

    The module is run on shapes alone, once in evaluation and once in training. If it raises, what
    it drew before counts.

    module : a private copy, in evaluation mode. example : of its inputs.
    kept : paths of the modules that are called in training as they are.
    """
    evaluation = _draws(module, example, kept, training=False)
    # Calls of dropout are operators in evaluation, too, and are kept.
    shown = Counter(draw for draw in evaluation if "dropout" in draw[2])
    lost = Counter(_draws(module, example, kept, training=True)) - shown
    if _ELSEWHERE in lost and _ELSEWHERE not in _draws(module, example, kept, training=True):
        del lost[_ELSEWHERE]  # another thread drew in the meantime
    places = [
        Refusal("training", path, source, name, _REASON, _REMEDY) for path, source, name in lost
    ]
    return [counted((_REASON, _REMEDY), places)] if places else []


def _draws(
    module: nn.Module, example, kept: set[str], *, training: bool
) -> list[tuple[str, str, str]]:
    """Path, source and function of every draw outside of ``kept``."""
    fake = FakeTensorMode()
    with FakeCopyMode(fake):
        twin = copy.deepcopy(module)
        example = copy.deepcopy(example)
    twin.train(training)
    recorder = _Recorder(twin, kept)
    before = random.getstate(), np.random.get_state()
    try:
        with (
            torch.random.fork_rng(devices=[]),
            uncompiled(),
            fake,
            torch.no_grad(),
            recorder.following(),
        ):
            twin(*example.args, **example.kwargs)
    except Exception:  # errors of training do not matter here; evaluation is read elsewhere
        pass
    after = random.getstate(), np.random.get_state()
    if before[0] != after[0] or not all(map(np.array_equal, before[1], after[1])):
        recorder.found.append(_ELSEWHERE)
        random.setstate(before[0])
        np.random.set_state(before[1])
    return recorder.found


class _Recorder(TorchFunctionMode):
    """Records which function of PyTorch draws in which module."""

    def __init__(self, module: nn.Module, kept: set[str]):
        super().__init__()
        self.module = module
        self.kept = kept
        self.stack = [""]
        self.found: list[tuple[str, str, str]] = []

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follows which module is being called."""
        hooks = []
        for path, part in self.module.named_modules():
            hooks.append(part.register_forward_pre_hook(lambda *_, path=path: self._enter(path)))
            hooks.append(part.register_forward_hook(lambda *_: self._leave()))
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, path: str) -> None:
        self.stack.append(path)

    def _leave(self) -> None:
        self.stack.pop()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name in _DRAWS and self.stack[-1] not in self.kept:
            self.found.append((self.stack[-1], _source(), name))
        return func(*args, **(kwargs or {}))


def _source() -> str:
    """ "file:line" of the innermost call outside of PyTorch."""
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith((_TORCH, _PACKAGE, "<")):
            return f"{Path(frame.filename).name}:{frame.lineno}"
    return ""
