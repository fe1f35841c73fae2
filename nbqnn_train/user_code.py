"""A user's own functions: ``FILE.py:function`` or ``package.module:function``.

Files and modules are found from the working folder. They are Python and are run: nothing here makes
code from somebody else safe.
"""

import contextlib
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from nbqnn_train.graph.errors import NbqnnError

__all__ = [
    "UserFunction",
    "file_digest",
    "is_user_name",
    "load_function",
    "located",
    "search",
    "told",
]


def is_user_name(name: str) -> bool:
    """Whether ``name`` has the form of a user's own function."""
    return ":" in name


def located(name: str) -> str:
    """``name`` with its file as an absolute path, so that it means the same in every folder.

    ``name`` is a function, an ONNX file, or no file at all.
    """
    if name.endswith(".onnx"):
        return str(Path(name).absolute())
    source, _, function = name.rpartition(":")
    return f"{Path(source).absolute()}:{function}" if source.endswith(".py") else name


@dataclass(frozen=True)
class UserFunction:
    """A function of the user.

    what : what it is for, as a message begins: "Model", "Data set".
    name : as it was given.
    function : what is called.
    file : the source file that it was read from; None for a module without one.
    """

    what: str
    name: str
    function: Callable
    file: Path | None

    def __call__(self, *arguments, **options) -> Any:
        """What the function returns.

        What it raises becomes an :class:`NbqnnError` of one line, with the user's file and line.
        """
        try:
            return self.function(*arguments, **options)
        except NbqnnError as error:
            raise NbqnnError(f"{self.what} {self.name!r}: {error}") from None
        except (Exception, SystemExit) as error:
            raise NbqnnError(f"{self.what} {self.name!r} raised {told(error)}") from error

    @property
    def folder(self) -> Path | None:
        """The folder in which Python found it: that of its file, or of its outermost package."""
        if self.file is None or self.name.rpartition(":")[0].endswith(".py"):
            return self.file and self.file.parent
        package = self.file.parent if self.file.name == "__init__.py" else self.file
        return package.parents[self.name.rpartition(":")[0].count(".")]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_function(name: str, what: str) -> UserFunction:
    """The function that ``name`` says, of a file or of a module.

    Raises :class:`NbqnnError` where there is none, or where its file raises; then with the line.
    """
    source, _, attribute = name.rpartition(":")
    if not source or not attribute:
        raise NbqnnError(f"{what} must be FILE.py:function or module:function, not {name!r}")
    with_file = source.endswith(".py")
    try:
        module = _file_module(Path(source)) if with_file else _named_module(source)
    except NbqnnError as error:
        raise NbqnnError(f"{what} {name!r}: {error}") from None
    except (Exception, SystemExit) as error:
        raise NbqnnError(f"{what} {name!r}: {source} raised {told(error)}") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        names = [n for n, value in vars(module).items() if _is_own(value, module)]
        raise NbqnnError(
            f"{what} {name!r}: {source} must have a function {attribute!r}; "
            f"it has {', '.join(names[:8]) or 'none'}"
        )
    file = getattr(module, "__file__", None)
    return UserFunction(what, name, function, None if file is None else Path(file).resolve())


def _is_own(value: object, module: ModuleType) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__


def _file_module(path: Path) -> ModuleType:
    """The module in the file ``path``; what lies beside it can be imported from it."""
    if not path.is_file():
        raise NbqnnError(f"file must exist, not {str(path)!r}")
    path = path.resolve()
    # By its content too, so that a file that was changed is read again.
    key = f"nbqnn_user_{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"
    key += f"_{file_digest(path)[:8]}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, path)
    module = importlib.util.module_from_spec(spec)
    search(path.parent)
    sys.modules[key] = module
    try:
        with _no_bytecode():
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[key]
        raise
    return module


@contextlib.contextmanager
def _no_bytecode():
    """A command writes nothing beside a user's files, not even what Python keeps of them."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _named_module(name: str) -> ModuleType:
    search(Path.cwd())
    importlib.invalidate_caches()
    try:
        with _no_bytecode():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise NbqnnError(
                f"there is no module {name!r} in the working folder or on Python's path"
            ) from None
        raise
    except (TypeError, ValueError) as error:  # of the name itself: "", ".x"
        if traceback.extract_tb(error.__traceback__)[-1].filename.endswith("importlib/__init__.py"):
            raise NbqnnError(f"{name!r} must be the name of a module") from None
        raise


def search(folder: Path) -> None:
    """Lets Python find modules in ``folder`` first, as it does for a script that lies there."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def told(error: BaseException) -> str:
    """One line: an exception, its message, and the last line of the user's own code."""
    message = " ".join(str(error).split())
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{kind}: {error.msg} ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame)]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{kind}{': ' if message else ''}{message[:_MESSAGE]}{where}"


#: Characters of an exception's message that are shown.
_MESSAGE = 300
_OWN = Path(__file__).resolve().parents[1]


def _is_users(frame: traceback.FrameSummary) -> bool:
    """Whether a frame is neither of this package nor of an installed one."""
    path = Path(frame.filename)
    if not path.is_file() or "site-packages" in path.parts:
        return False
    own = any(path.is_relative_to(_OWN / package) for package in ("nbqnn_train", "scripts"))
    return not own and not path.is_relative_to(Path(importlib.__file__).parents[1])
