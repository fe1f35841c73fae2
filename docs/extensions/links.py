"""Where names in signatures and docstrings lead."""

import ast
import builtins
from functools import cache
from pathlib import Path

from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.nodes import find_pending_xref_condition, make_refnode

__all__ = ["setup"]

_ROOT = Path(__file__).resolve().parents[2]
_OURS = ("nbqnn_train", "hw", "sim")


def _unqualified(app: Sphinx, env, node, contnode):
    """Where a name leads that is written without its module, or with a module that passes it on."""
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    *_, last = node["reftarget"].rpartition(".")
    own = (node.get("py:module") or "").partition(".")[0]
    objects = _names_by_last_part(app, domain).get(last, [])
    tops = [name for name in objects if _is_top(domain, name)]
    near = [name for name in tops if name.startswith(f"{own}.")]
    for found in (tops, objects, near):
        if len(found) == 1:
            break
    # Of several: what is passed on is defined in the innermost module.
    chosen = max(found or tops, key=len, default=None)
    if chosen is None:
        return None
    entry = domain.objects[chosen]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, chosen)


def _names_by_last_part(app: Sphinx, domain) -> dict[str, list[str]]:
    """All names of the reference by what follows their last dot; made once, when all are known."""
    if not hasattr(app, "nbqnn_names"):
        app.nbqnn_names = {}
        for name in domain.objects:
            app.nbqnn_names.setdefault(name.rpartition(".")[2], []).append(name)
    return app.nbqnn_names


def _clear_up(app: Sphinx, doctree) -> None:
    """Names in signatures, as their module has them.

    Names such as ``bytes`` are Python's, not our fields of the same name. Names that the module
    imports from us lead there, although others are called the same.
    """
    for node in list(doctree.findall(pending_xref)):
        if node.get("refdomain") != "py":
            continue
        target = node.get("reftarget", "")
        if hasattr(builtins, target):
            shown = find_pending_xref_condition(node, "resolved") or node
            node.replace_self(shown.children)
        else:
            node["reftarget"] = _imported(node.get("py:module") or "").get(target, target)


@cache
def _imported(module: str) -> dict[str, str]:
    """The names that one of our modules imports from others of ours, and their full names."""
    path = _ROOT / (module.replace(".", "/") + ".py")
    if not path.is_file():
        return {}
    return {
        name.asname or name.name: f"{node.module}.{name.name}"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and not node.level
        for name in node.names
        if node.module.partition(".")[0] in _OURS
    }


def _is_top(domain, name: str) -> bool:
    """Whether a name belongs to a module, and not to a class."""
    return name.rpartition(".")[0] in domain.modules


def setup(app: Sphinx) -> None:
    """Called by the extension that has the pages."""
    app.connect("doctree-read", _clear_up)
    app.connect("missing-reference", _unqualified)
