"""Reference made from the code: tables in pages that ask for them, and a page for each package.

A line ``% generated: NAME`` in a page is replaced by what ``NAME`` in :data:`GENERATED` gives.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

from . import links, model_cards
from .errors import errors_page
from .tables import table as _table

__all__ = ["GENERATED", "setup"]

_ROOT = Path(__file__).resolve().parents[2]
#: Packages of which every module has its place in the reference.
_PACKAGES = ("nbqnn_train", "hw", "sim")
#: ``acc : what it is`` or ``low, high : what they are``, in a docstring.
_FIELD = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*) : (\S.*)$")
_MARK = re.compile(r"^% generated: (\w+)$", re.MULTILINE)


def _comments(cls: type) -> dict[str, str]:
    """Field -> what its ``#:`` comment says."""
    comments = ModuleAnalyzer.for_module(cls.__module__).find_attr_docs()
    return {
        name: " ".join(text) for (owner, name), text in comments.items() if owner == cls.__name__
    }


def _commands() -> str:
    import typer

    from scripts.cli import app

    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="nbqnn")
    text = []
    for name, command in group.commands.items():
        inner = typer.Context(command, info_name=name, parent=context)
        usage = " ".join((inner.command_path, *command.collect_usage_pieces(inner)))
        rows = []
        for param in command.get_params(inner):
            if param.name == "help":
                continue
            names = [param.metavar] if param.param_type_name == "argument" else param.opts
            rows.append((", ".join(f"`{one}`" for one in names), _help(param)))
        text += [f"## nbqnn {name}", f"```text\n{usage}\n```", _plain(command.help or "")]
        text += [_table(("option", "meaning"), rows), ""]
    return "\n\n".join(text)


def _help(param) -> str:
    text = _plain(param.help or "")
    default = param.default
    if default in (None, False, "", ()) or callable(default) or not param.show_default:
        return text
    return f"{text} Default: `{default}`."


def _plain(text: str) -> str:
    """Help without Rich's markup."""
    return text.replace("\\[", "[").replace("\b\n", "").strip()


def _training_options() -> str:
    from nbqnn_train.learn.config import TrainConfig

    return _table(
        ("option", "default"),
        ((f"`{field.name}`", _default(field)) for field in dataclasses.fields(TrainConfig)),
    )


def _default(field: dataclasses.Field) -> str:
    if field.default is dataclasses.MISSING:
        return "must be given" if field.default_factory is dataclasses.MISSING else "none"
    return "of the recipe" if field.default is None else f"`{field.default}`"


def _configuration() -> str:
    from hw.contract.config import AcceleratorConfig

    comments = _comments(AcceleratorConfig)
    return _table(
        ("field", "default", "meaning"),
        (
            (f"`{field.name}`", _default(field), comments.get(field.name, ""))
            for field in dataclasses.fields(AcceleratorConfig)
        ),
    )


def _presets() -> str:
    from hw.boards.presets import PRESETS
    from hw.synth.area_model import estimate_area

    rows = []
    for name, config in PRESETS.items():
        area = estimate_area(config)
        size = f"{config.lanes} × {config.filters} × {config.pixels}"
        lanes = f"{config.multiplies_per_cycle:,}"
        bits = f"{config.weight_bits} / {config.act_bits} / {config.acc_bits}"
        built = (size, lanes, config.pe, bits, config.axi_ports, config.clock_mhz)
        taken = (f"{area.lut:,}", f"{area.ff:,}", f"{area.bram36:g}", area.dsp)
        rows.append((f"`{name}`", *built, *taken))
    header = ("preset", "lanes × filters × pixels", "lanes in all", "`pe`")
    header += ("bits of weights / activations / sums", "AXI ports", "MHz asked for")
    return _table((*header, "LUT", "FF", "BRAM36", "DSP"), rows)


def _boards() -> str:
    from hw.boards.registry import BOARDS

    rows = []
    for name, board in BOARDS.items():
        memory = board.memory
        bandwidth = "on the chip" if memory is None else f"{memory.bytes_per_s / 1e9:.3g} GB/s"
        holds = (f"{board.lut:,}", f"{board.ff:,}", f"{board.bram36:g}", board.dsp)
        rows.append((f"`{name}`", f"`{board.part}`", *holds, bandwidth))
    return _table(("board", "part", "LUT", "FF", "BRAM36", "DSP", "memory"), rows)


def _registers() -> str:
    from hw.contract.register_docs import to_markdown
    from hw.contract.registers import REGISTERS

    return to_markdown(REGISTERS)


def _descriptors() -> str:
    from hw.contract.isa import BODIES, HEAD

    text = ["### Head of every descriptor", _fields(HEAD)]
    for opcode, fields in BODIES.items():
        if fields:
            text += [f"### {opcode.name}", _fields(fields)]
    return "\n\n".join(text)


def _fields(fields: dict[str, int]) -> str:
    return _table(("field", "bits"), ((f"`{name}`", bits) for name, bits in fields.items()))


def _error_causes() -> str:
    from hw.contract.causes import ErrorCause

    return _table(("cause", "meaning"), _members(ErrorCause))


def _members(enumeration: type) -> list[tuple[str, str]]:
    comments = _comments(enumeration)
    return [
        (f"`{member.name}` ({member.value})", comments[member.name])
        for member in enumeration
        if member.name in comments
    ]


def _nodes() -> str:
    from hw.compiler.lower.lower import support
    from nbqnn_train.graph import Node
    from nbqnn_train.graph.operators import OPERATORS
    from nbqnn_train.qonnx.exporter import _Exporter

    kinds, found = [Node], []
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if not kind.__subclasses__():
            found.append(kind)
    rows = []
    for kind in sorted(set(found), key=lambda kind: (kind in OPERATORS, kind.__name__)):
        summary = (kind.__doc__ or "").strip().split("\n\n")[0].replace("``", "`")
        name = kind.__name__
        written = "yes" if hasattr(_Exporter, f"_{name.lower()}") else "no"
        rows.append((f"`{name}`", summary, _from_pytorch(kind), written, support(kind)))
    header = ("node", "what it computes", "from PyTorch", "to QONNX", "accelerator")
    return _table(header, rows)


def _from_pytorch(kind: type) -> str:
    """Whether networks that are converted can have nodes of that kind."""
    import nbqnn_train.export
    from nbqnn_train.quant.operators import order, padding, products, regions, resize, table

    users = (nbqnn_train.export, order, padding, products, regions, resize, table)
    return "yes" if any(kind in vars(module).values() for module in users) else "no"


def _read_from_pytorch() -> str:
    from importlib import import_module

    from nbqnn_train.quant.reading.rules import RULES

    import_module("nbqnn_train.quant.reading.read")  # fills the table
    names = (str(operator).partition(".")[2] for operator in RULES)
    return _names(name for name in names if not name.startswith("_") and not name.endswith("_"))


def _read_from_onnx() -> str:
    from nbqnn_train.qonnx.importer import DOMAINS

    return _names(name for operators in DOMAINS.values() for name in operators)


def _float_onnx() -> str:
    from importlib import import_module

    from nbqnn_train.models.from_onnx.operator import BUILDERS

    import_module("nbqnn_train.models.from_onnx.network")  # fills the table
    return _names(BUILDERS)


def _timm_networks() -> str:
    """The two dicts of the test, which are literals."""
    import ast

    text = (_ROOT / "tests" / "train" / "test_timm.py").read_text(encoding="utf-8")
    found = {}
    for statement in ast.parse(text).body:
        name = getattr(getattr(statement, "targets", [None])[0], "id", None)
        if name in ("READ", "REFUSED"):
            found[name] = ast.literal_eval(statement.value)
    rows = [(f"`{name}`", f"{size} × {size}", "") for name, size in found["READ"].items()]
    rows += [(f"`{name}`", "", reason) for name, reason in found["REFUSED"].items()]
    count = f"{len(found['READ'])} of {len(rows)} are read.\n\n"
    return count + _table(("network", "exact on images of", "refused"), sorted(rows))


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) + "\n"


def _networks() -> str:
    from nbqnn_train.models.registry import MODELS

    return _table(("network",), ((f"`{name}`",) for name in MODELS))


def _extras() -> str:
    import tomllib

    text = (_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    groups = {"always": project["dependencies"], **project["optional-dependencies"]}
    reasons = dict(re.findall(r'^\s+"([^"]+)",\s+# (.+)$', text, re.MULTILINE))
    return _table(
        ("extra", "package", "what for"),
        (
            (f"`{extra}`", f"`{package}`", reasons[package])
            for extra, packages in groups.items()
            for package in packages
        ),
    )


#: Name in a page -> Markdown.
GENERATED: dict[str, Callable[[], str]] = {
    "boards": _boards,
    "card_commands": model_cards.card_commands,
    "card_cycles": model_cards.card_cycles,
    "card_origins": model_cards.card_origins,
    "cards": model_cards.cards,
    "commands": _commands,
    "configuration": _configuration,
    "descriptors": _descriptors,
    "error_causes": _error_causes,
    "errors": errors_page,
    "extras": _extras,
    "network_figures": model_cards.network_figures,
    "networks": _networks,
    "float_onnx": _float_onnx,
    "nodes": _nodes,
    "presets": _presets,
    "read_from_onnx": _read_from_onnx,
    "read_from_pytorch": _read_from_pytorch,
    "registers": _registers,
    "timm_networks": _timm_networks,
    "training_options": _training_options,
}


def _replace(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = _MARK.sub(lambda found: GENERATED[found[1]](), source[0])


def _outdated(app: Sphinx, env, added, changed, removed) -> list[str]:
    """Pages with something generated, whatever in the code has changed."""
    return [
        name
        for name in env.found_docs
        if (file := Path(env.doc2path(name))).suffix == ".md"
        and _MARK.search(file.read_text("utf-8"))
    ]


def _write_pages(app: Sphinx) -> None:
    """A page for each package, with all of its modules."""
    folder = Path(app.srcdir, "reference", "api")
    folder.mkdir(parents=True, exist_ok=True)
    pages = {}
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(_ROOT).with_suffix("").parts)
            own = module.removesuffix(".__init__")
            if module == f"{package}.__init__" and not path.read_text("utf-8").strip():
                continue
            # Modules right in the top package are what users import: a page together.
            page = own if path.name == "__init__.py" else own.rpartition(".")[0]
            pages.setdefault(page, []).append((own, path.name == "__init__.py"))
    for page, modules in pages.items():
        text = [page, "=" * len(page), ""]
        for module, is_package in sorted(modules, key=lambda one: not one[1]):
            if is_package:
                text += [f".. automodule:: {module}", "   :ignore-module-all:", ""]
            else:
                text += [module, "-" * len(module), "", f".. automodule:: {module}", ""]
        _write_if_new(folder / f"{page}.rst", "\n".join(text))
    names = "\n".join(f"   {page}" for page in pages)
    index = f"Python\n======\n\n.. toctree::\n   :maxdepth: 2\n\n{names}\n"
    _write_if_new(folder / "index.rst", index)
    for stale in set(folder.glob("*.rst")) - {folder / f"{page}.rst" for page in (*pages, "index")}:
        stale.unlink()


def _write_if_new(path: Path, text: str) -> None:
    """Pages that are as they were are not built again."""
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def _docstring(app: Sphinx, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Sections become headings, and lines ``name : meaning`` become items of a list.

    Lines that are indented below such a line belong to it.
    """
    written, in_item = [], False
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        found = _FIELD.match(line)
        if line and following and set(following) == {"-"}:
            written += ["", f".. rubric:: {line}", ""]
        elif line and set(line) == {"-"}:
            in_item = False
        elif found:
            written += [] if in_item else [""]
            written.append(f"* **{found[1]}**: {found[2]}")
            in_item = True
        elif in_item and line.startswith(" "):
            written.append(f"  {line.strip()}")
        else:
            written += [""] if in_item and line else []
            in_item = in_item and not line
            written.append(line)
    lines[:] = written


def _signature(app: Sphinx, what, name: str, obj, options, signature, returned):
    """Defaults that a factory makes are written as Sphinx can read them."""
    return signature and signature.replace("<factory>", "..."), returned


def setup(app: Sphinx) -> dict:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _docstring)
    links.setup(app)
    app.connect("autodoc-process-signature", _signature)
    app.connect("builder-inited", _write_pages)
    app.connect("source-read", _replace)
    app.connect("env-get-outdated", _outdated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
