"""hw.moved: old names of modules import what is where it is now, and say so."""

import importlib
import warnings

import pytest

from hw.moved import MOVED


@pytest.mark.parametrize("name", MOVED)
def test_old_names_import_with_a_warning(name):
    with pytest.warns(DeprecationWarning, match=f"{name} is now hw"):
        module = importlib.reload(_first(name))
    for place in MOVED[name]:
        found = importlib.import_module(place)
        assert all(getattr(module, public) is getattr(found, public) for public in found.__all__)


def _first(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module(name)


def test_other_names_are_as_unknown_as_ever():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("hw.nothing")
