"""What commands write: a kind of its own for each result, and fields that can be read again."""

import importlib
import json
import typing
from dataclasses import MISSING, fields, is_dataclass

import pytest

from hw.boards.presets import PRESETS
from hw.contract.config import AcceleratorConfig
from nbqnn_train.graph.results import Result

#: Whatever defines results.
MODULES = (
    *("hw.explore.results", "hw.model.estimate", "hw.synth.results"),
    *("nbqnn_train.graph.results", "nbqnn_train.graph.summary", "nbqnn_train.learn.results"),
    *("scripts.ablation", "scripts.check_result", "scripts.demo_result", "scripts.import_result"),
    *("scripts.performance", "scripts.prediction_result", "scripts.quantize_result"),
    "scripts.switching",
    "sim.results",
)


def results() -> list[type[Result]]:
    found = []
    for name in MODULES:
        values = vars(importlib.import_module(name)).values()
        own = [value for value in values if getattr(value, "__module__", None) == name]
        classes = [value for value in own if isinstance(value, type) and value is not Result]
        found += [value for value in classes if issubclass(value, Result)]
    return found


def sample(kind) -> object:
    """A value of a type: one of everything that is required."""
    arguments = typing.get_args(kind)
    if type(None) in arguments:
        return None
    origin = typing.get_origin(kind)
    if origin is tuple:
        return (sample(arguments[0]), sample(arguments[0]))
    if origin is dict:
        return {sample(arguments[0]): sample(arguments[1])}
    if kind is AcceleratorConfig:
        return PRESETS["tiny"]
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        needed = [f for f in fields(kind) if f.default is f.default_factory is MISSING]
        return kind(**{field.name: sample(hints[field.name]) for field in needed})
    return {int: 3, float: 0.5, str: "text", bool: True, dict: {"key": 1}}[kind]


def test_every_kind_is_one_result():
    kinds = [result.kind for result in results()]
    assert len(kinds) == len(set(kinds)) >= 13


@pytest.mark.parametrize("result", results(), ids=lambda result: result.kind)
def test_there_and_back(result):
    one = sample(result)
    written = json.loads(json.dumps(one.to_json()))
    assert written["kind"] == result.kind
    assert result.from_json(written) == one
