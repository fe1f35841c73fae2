"""Networks of timm, which is installed without its dependencies: what it imports for data and
downloads alone is stood in for while it is imported."""

import importlib
import sys
import types
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

from torch import nn

__all__ = ["create_model"]

_FOR_DATA = ("torchvision", "huggingface_hub")


class _Kind(type):
    """The class of empty classes whose attributes are their own names, as of an enumeration."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class _StandIn(types.ModuleType):
    """A module whose attributes are empty classes."""

    __path__ = ()

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Kind(name, (), {})


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name.split(".")[0] in _FOR_DATA else None

    def create_module(self, spec):
        return _StandIn(spec.name)

    def exec_module(self, module):
        pass


def create_model(name: str, **options) -> nn.Module:
    """timm's network called ``name``, with random weights, in evaluation mode."""
    before = set(sys.modules)
    missing = [package for package in _FOR_DATA if find_spec(package) is None]
    finder = _Finder()
    if missing:
        sys.meta_path.append(finder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            timm = importlib.import_module("timm")
    finally:
        if missing:
            sys.meta_path.remove(finder)
        for loaded in set(sys.modules) - before:
            if loaded.split(".")[0] in missing:
                del sys.modules[loaded]
    return timm.create_model(name, pretrained=False, **options).eval()
