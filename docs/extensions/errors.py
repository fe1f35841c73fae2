"""Every error that a user can cause, with what to do, collected from the code that raises it."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Message", "collect_messages", "errors_page"]

_ROOT = Path(__file__).resolve().parents[2]
#: Title of a part -> where it is, and what to do where neither a message nor a rule says it.
_PARTS = {
    "Data sets": (("nbqnn_train/data", "nbqnn_train/inputs"), "look at the file that is named"),
    "Networks by name, file or function": (
        ("nbqnn_train/models", "nbqnn_train/user_code.py"),
        "mend the function or the file that is named",
    ),
    "Training": (("nbqnn_train/learn",), "give the option another value"),
    "The integer graph": (
        ("nbqnn_train/graph",),
        "what wrote the graph broke the contract of `nbqnn_train/graph/SPEC.md`: export or import "
        "it again",
    ),
    "Import and export of ONNX": (
        ("nbqnn_train/qonnx",),
        "change the model where the message says; [Import](../guide/import.md) says what is taken",
    ),
    "Converting and quantizing": (
        ("nbqnn_train",),
        "[What is read](../guide/what-is-read.md) has what a network may hold",
    ),
    "Configurations, boards, programs": (
        ("hw/contract", "hw/boards"),
        "[Configuration](configuration.md) has the fields and their ranges",
    ),
    "Compiling": (
        ("hw/compiler",),
        "choose a configuration that has what is missing, with `nbqnn explore`, or change the "
        "network; [Limits](../project/limits.md)",
    ),
    "On a board": (("hw/driver",), "[The driver](../guide/driver.md) says what it needs"),
    "Searching": (("hw/explore",), "allow more, or change the network"),
    "Circuits": (
        ("hw/spatial", "sim/spatial"),
        "[Networks as circuits](../guide/circuits.md) says what a circuit takes",
    ),
    "Synthesis": (("hw",), "the tool's log in the build has the rest"),
    "Simulation": (("sim",), "make the build again with `nbqnn generate`"),
    "The command line": (("scripts",), "`nbqnn COMMAND --help` lists what is allowed"),
}
#: What a message holds -> what to do. The first that fits counts.
_RULES = (
    (r"cannot be read", "check the path, and that the file may be read"),
    (r"cannot be (written|opened|mapped)", "choose a place that exists and may be used"),
    (r"truncated|damaged|left over|not a graph|not a program|negative zero",
     "the file was cut off or changed: write or copy it again"),
    (r"unknown field|field .+ is missing", "write the file again with this version, or mend it"),
    (r"(accumulators|sums|values|products).* (reach|up to)",
     "fewer bits of weights or activations, or a larger `acc_bits`"),
    (r"raised|cannot be run|cannot be evaluated",
     "mend the code or the model; the message ends with its error"),
    (r"which is not installed|need the package", "install what is named"),
    (r"ended with code", "the tool's own line follows; its log is in the build"),
    (r"garbled|was answered with", "check clock, reset and wiring; the driver tried again before"),
)  # fmt: skip
#: Exceptions that say why one operation is refused: reason, then what to do.
_REASONS = ("Unsupported",)
#: Marks around the name of a value within a message.
_OPEN, _CLOSE = "\x01", "\x02"
_VALUE = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")


@dataclass(frozen=True)
class Message:
    """One message: what it says, with values by their names between marks, and what to do.

    ``remedy`` is empty where the message itself says it: from ``begin`` to ``end`` of ``text``.
    """

    part: str
    text: str
    begin: int
    end: int
    remedy: str

    @property
    def markdown(self) -> str:
        """One item of a list, with what to do in bold."""
        said, told, rest = (
            self.text[: self.begin],
            self.text[self.begin : self.end],
            self.text[self.end :],
        )
        text = _escaped(said) + (f"**{_escaped(told)}**" if told else "") + _escaped(rest)
        return f"- {text}" + (f" → **{self.remedy}**" if self.remedy else "")


def errors_page() -> str:
    """All messages, part by part, in the order of the alphabet."""
    messages = collect_messages()
    text = []
    for part in _PARTS:
        items = sorted({one.markdown for one in messages if one.part == part}, key=_plain)
        text += [f"## {part}", "\n".join(items)]
    return "\n\n".join(text) + "\n"


def collect_messages() -> list[Message]:
    """The messages of all ``raise`` of an NbqnnError, and the reasons of refusals."""
    trees = {
        path: ast.parse(path.read_text("utf-8"))
        for package in ("nbqnn_train", "hw", "sim", "scripts")
        for path in sorted((_ROOT / package).rglob("*.py"))
    }
    errors = _subclasses(trees.values())
    found = []
    for path, tree in trees.items():
        part = _part_of(path.relative_to(_ROOT).as_posix())
        constants = _constants(tree)
        for call in _calls(tree):
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            if name in errors and call.args:
                text = _text(call.args[0], constants)
                if re.search(r"[a-z]{3}", _VALUE.sub("", text)):
                    found.append(_message(part, text))
            elif name in _REASONS and call.args:
                text, *told = (_text(one, constants) for one in call.args[:2])
                found.append(_message(part, text, *told))
    return found


def _subclasses(trees) -> set[str]:
    """Names of NbqnnError and of what is derived from it."""
    bases = {
        node.name: {getattr(base, "id", getattr(base, "attr", "")) for base in node.bases}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    names = {"NbqnnError"}
    while more := {name for name, above in bases.items() if above & names} - names:
        names |= more
    return names


def _part_of(path: str) -> str:
    """The part with the longest path that a file is below."""
    return max(
        ((len(place), part) for part, (places, _) in _PARTS.items() for place in places
         if path.startswith(place)),
    )[1]  # fmt: skip


def _constants(tree: ast.Module) -> dict[str, str]:
    """Texts and numbers that a module gives names to."""
    return {
        target.id: str(node.value.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _text(node: ast.expr, constants: dict[str, str]) -> str:
    """A message with the names of its values between marks."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part, constants) for part in parts)
        case ast.FormattedValue(value=value, conversion=conversion):
            quote = "'" if conversion == ord("r") else ""
            return quote + _text(value, constants) + quote
        case ast.BinOp(op=ast.Add(), left=left, right=right) if _is_text(node):
            return _text(left, constants) + _text(right, constants)
        case ast.Name(id=name) if name in constants:
            return constants[name]
    return f"{_OPEN}{_name(node)}{_CLOSE}"


def _is_text(node: ast.expr) -> bool:
    """Whether a sum is one of texts, not of numbers."""
    return any(isinstance(one, ast.Constant) and isinstance(one.value, str)
               for one in ast.walk(node))  # fmt: skip


def _name(node: ast.expr) -> str:
    """What a value is called, as far as one word says it."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_").lower().replace("_", " ")
        case ast.Call(func=ast.Attribute(attr="join"), args=[values]):
            return _name(values)
        case ast.GeneratorExp(generators=[ast.comprehension(iter=values), *_]):
            return _name(values)
        case ast.Call(args=[*_, value]) | ast.Subscript(value=value) | ast.Starred(value=value):
            return _name(value)
    return "…"


def _message(part: str, text: str, told: str = "") -> Message:
    """Where a message says what to do, else by rule, else for its part."""
    text = " ".join(text.split()).replace(_CLOSE + _OPEN, " ")
    begin = end = len(text)
    found = (
        re.search(r"(?<=remedy: ).+", text)
        or re.search(r"\bmust .+?(?=, not |, unlike |$)", text)
        or re.search(r"(?<=; )[a-z][^;]*[a-z]{3}[^;]*$", text)
    )
    if found and not told:
        begin, end = found.span()
    elif not told:
        said = _VALUE.sub("", text)
        told = next((remedy for rule, remedy in _RULES if re.search(rule, text)), None)
        told = told or next((remedy for rule, remedy in _RULES if re.search(rule, said)), None)
        told = told or _PARTS[part][1]
    else:
        told = _escaped(told)
    return Message(part, text, begin, end, told)


def _escaped(text: str) -> str:
    """Markdown that shows a message, with its values in italics."""
    text = re.sub(r"([\\`*_\[\]<>{}|$#~])", r"\\\1", text)
    return _VALUE.sub(lambda found: "…" if found[1] == "…" else f"*{found[1]}*", text)


def _plain(item: str) -> str:
    """By words alone."""
    return re.sub(r"[^a-z ]", "", item.lower()).strip()
