"""Names that modules of ``hw`` had in the first version, for programs that still import them.

They import with a :exc:`DeprecationWarning` that says where things are now.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from types import ModuleType

__all__ = ["MOVED", "install"]

#: Old name -> the modules that hold what was in it.
MOVED = {
    "hw.accelerator": ("hw.rtl.accelerator",),
    "hw.config": ("hw.contract.config", "hw.boards.presets"),
    "hw.cycles": ("hw.model.cycles",),
    "hw.generate": ("hw.rtl.generate",),
    "hw.isa": ("hw.contract.isa",),
    "hw.program": ("hw.contract.program",),
    "hw.registers": ("hw.contract.registers", "hw.contract.causes"),
}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name in MOVED else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        places = MOVED[module.__name__]
        warnings.warn(
            f"{module.__name__} is now {' and '.join(places)}", DeprecationWarning, stacklevel=2
        )
        for place in places:
            found = importlib.import_module(place)
            vars(module).update({name: getattr(found, name) for name in found.__all__})


def install() -> None:
    """Lets the old names be imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
