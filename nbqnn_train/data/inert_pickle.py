"""Reads the data in a pickle without running anything of it.

Opcodes come from the standard library's disassembler. Names of classes and functions, and calls to
them, become inert :class:`Call` objects. Nothing is ever imported or called. It understands what
CIFAR's Python batches consist of: dictionaries, lists, tuples, strings, numbers and NumPy arrays of
bytes.
"""

import pickletools
from dataclasses import dataclass

import numpy as np

__all__ = ["Call", "InertPickleError", "byte_array", "read_inert"]

_MARK = object()

#: Characters of an error that are shown.
_MOST_SHOWN = 200


class InertPickleError(ValueError):
    """A pickle that is damaged or holds what is not understood."""


@dataclass
class Call:
    """A call that the pickle asks for and that was not made.

    With ``arguments`` None it is a mere name.
    """

    name: str
    arguments: tuple | None = None
    state: object = None


def read_inert(data: bytes) -> object:
    """The object that ``data`` describes, with every call left undone."""
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except InertPickleError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, MemoryError) as error:
        raise InertPickleError(_shown(error)) from None
    raise InertPickleError("it has no end")


def byte_array(value: object) -> np.ndarray:
    """The array of unsigned bytes that ``value`` would have become."""
    if not isinstance(value, Call) or not value.name.endswith("multiarray _reconstruct"):
        raise InertPickleError("an array was expected")
    try:
        _, shape, dtype, fortran, content = value.state
        raw = content.encode("latin-1") if isinstance(content, str) else content
        if isinstance(
            raw, Call
        ):  # Python 3 writes bytes in old protocols as encode(text, "latin1")
            raw = raw.arguments[0].encode("latin-1")
        if dtype.arguments[0] != "u1" or fortran or not isinstance(raw, bytes):
            raise InertPickleError("an array of unsigned bytes was expected")
        return np.frombuffer(raw, np.uint8).reshape(shape)
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise InertPickleError(f"a damaged array: {_shown(error)}") from None


def _shown(error: Exception) -> str:
    """The message, which may quote the file, without most of a long one."""
    return str(error)[:_MOST_SHOWN]


class _Machine:
    """The stack machine of pickles, without the opcodes that need classes."""

    def __init__(self):
        self.stack: list = []
        self.memo: dict[int, object] = {}

    def pop(self):
        return self.stack.pop()

    def since_mark(self) -> list:
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def step(self, name: str, argument) -> None:
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise InertPickleError(f"opcode {name} is not understood")

    def put(self, key) -> None:
        self.memo[len(self.memo) if key is None else key] = self.stack[-1]

    def call(self, _) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Call) or not isinstance(arguments, tuple):
            raise InertPickleError("a call of what is no function")
        self.stack.append(Call(function.name, arguments))

    def build(self, _) -> None:
        state = self.pop()
        self.stack[-1].state = state

    def global_name(self, _) -> None:
        name, module = self.pop(), self.pop()
        # The text of anything else may be exponentially long.
        if not isinstance(name, str) or not isinstance(module, str):
            raise InertPickleError("a name that is no text")
        self.stack.append(Call(f"{module} {name}"))

    def set_items(self, _) -> None:
        items = self.since_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(key, value)

    def set_item(self, _) -> None:
        value, key = self.pop(), self.pop()
        self._set(key, value)

    def _set(self, key: object, value: object) -> None:
        # To hash a tuple of tuples may take exponentially long.
        if not isinstance(key, str | bytes | int):
            raise InertPickleError("a key that is neither text nor number")
        self.stack[-1][key] = value

    def append(self, _) -> None:
        value = self.pop()
        self.stack[-1].append(value)

    def tuple_of(self, count: int) -> None:
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        self.stack.append(tuple(items))


_LITERALS = {
    "BININT",
    "BININT1",
    "BININT2",
    "BINSTRING",
    "SHORT_BINSTRING",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINBYTES",
    "SHORT_BINBYTES",
    "BINBYTES8",
    "LONG1",
    "LONG",
    "INT",
}
_CONSTANTS = {"NEWTRUE": True, "NEWFALSE": False, "NONE": None, "MARK": _MARK, "EMPTY_TUPLE": ()}
_ACTIONS = {
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "BINGET": lambda machine, key: machine.stack.append(machine.memo[key]),
    "LONG_BINGET": lambda machine, key: machine.stack.append(machine.memo[key]),
    "GLOBAL": lambda machine, name: machine.stack.append(Call(name)),
    "STACK_GLOBAL": _Machine.global_name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
    "SETITEMS": _Machine.set_items,
    "SETITEM": _Machine.set_item,
    "APPEND": _Machine.append,
    "APPENDS": lambda machine, _: _extend(machine),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
}


def _extend(machine: _Machine) -> None:
    items = machine.since_mark()
    machine.stack[-1].extend(items)
