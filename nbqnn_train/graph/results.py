"""Results of commands: dataclasses in Python, JSON in files. Every result says its kind."""

import json
import types
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.files import write_text

__all__ = ["Evaluation", "Result", "ResultError", "named"]


class ResultError(NbqnnError):
    """JSON that is not such a result; the message names the field."""


def named(name: str) -> Any:
    """A field that is called ``name`` in JSON; Python does not allow that name."""
    return field(metadata={"name": name})


@dataclass(frozen=True, kw_only=True)
class Result:
    """The base of all results.

    kind : what the result is of; the field ``kind`` of its JSON.
    derived : properties that the JSON has too, for readers of the JSON alone.
    """

    kind: ClassVar[str]
    derived: ClassVar[tuple[str, ...]] = ()

    def to_json(self) -> dict:
        """The JSON: ``kind``, the fields and the derived properties, without fields whose default
        is None and that are None."""
        return _plain(self)

    def __getitem__(self, name: str) -> Any:
        """The field ``name`` as in the JSON. Raises :exc:`KeyError` where there is none."""
        return self.to_json()[name]

    def __contains__(self, name: object) -> bool:
        """Whether the JSON has a field of this name."""
        return name in self.to_json()

    def write(self, path: Path) -> None:
        """Writes :meth:`to_json` to the file ``path``; an existing file is replaced at once."""
        write_text(path, json.dumps(self.to_json(), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """The result in the file ``path``.

        Raises :class:`ResultError` for a file that cannot be read or is not of this kind.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or "it is no JSON"
            raise ResultError(f"result {str(path)!r} cannot be read: {reason}") from None
        return cls.from_json(content)

    @classmethod
    def from_json(cls, content: object) -> Self:
        """The result that :meth:`to_json` wrote. Unknown fields are ignored.

        Raises :class:`ResultError` for another kind, and for a field that is missing or of another
        type.
        """
        kind = content.get("kind") if isinstance(content, dict) else None
        if kind != cls.kind:
            raise ResultError(f"result must be of kind {cls.kind!r}, not {kind!r}")
        return _structured(cls, content, "result")


@dataclass(frozen=True, kw_only=True)
class Evaluation(Result):
    """Accuracy: the share (0...1) of test images that were classified rightly, and their number."""

    kind: ClassVar[str] = "evaluate"

    accuracy: float
    images: int


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        values = {
            _name(one): getattr(value, one.name)
            for one in fields(value)
            if getattr(value, one.name) is not None or one.default is not None
        }
        values |= {name: getattr(value, name) for name in getattr(value, "derived", ())}
        if isinstance(value, Result):
            values = {"kind": value.kind, **values}
        return {name: _plain(one) for name, one in values.items()}
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


def _structured(kind: Any, value: Any, what: str) -> Any:
    """``value``, from JSON, as the type ``kind``."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (kind,) = (one for one in arguments if one is not type(None))
        return _structured(kind, value, what)
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise _wrong(what, "a table", value)
        hints, values = get_type_hints(kind), {}
        for one in fields(kind):
            name = _name(one)
            if name in value:
                values[one.name] = _structured(hints[one.name], value[name], f"{what}.{name}")
            elif one.default is MISSING and one.default_factory is MISSING:
                raise ResultError(f"{what}: field {name!r} is missing")
        return kind(**values)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(what, "a list", value)
        return tuple(
            _structured(arguments[0], one, f"{what}[{at}]") for at, one in enumerate(value)
        )
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(what, "a table", value)
        return {
            _key(arguments[0], key, what): _structured(arguments[1], one, f"{what}.{key}")
            for key, one in value.items()
        }
    if kind is float and type(value) is int:
        return float(value)
    if kind is not Any and type(value) is not kind:
        raise _wrong(what, f"of type {kind.__name__}", value)
    return value


def _name(one: Field) -> str:
    """The name of a field in JSON."""
    return one.metadata.get("name", one.name)


def _key(kind: Any, key: str, what: str) -> Any:
    """A key of a mapping; JSON holds it as text."""
    try:
        return int(key) if kind is int else key
    except ValueError:
        raise _wrong(f"{what}: key", "a whole number", key) from None


def _wrong(what: str, wanted: str, value: object) -> ResultError:
    return ResultError(f"{what} must be {wanted}, not {str(value)[:80]!r}")
