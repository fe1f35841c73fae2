"""Tutorials: a line at their beginning with the number, and each as a notebook to download.

A page is a tutorial if its front matter has ``tutorial: N``.
"""

import re
from pathlib import Path

import nbformat
import yaml
from myst_nb.core.read import read_myst_markdown_notebook
from sphinx.application import Sphinx

__all__ = ["notebook_of", "setup", "tutorial_number", "tutorials"]

_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_TITLE = re.compile(r"^# .+$", re.MULTILINE)
#: What Jupyter does not know: links between pages, roles, links to places in a page, raw HTML.
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]+\)")
_ROLE = re.compile(r"\{\w+\}`([^`<]+?)(?: <[^>]*>)?`")
_PLACE = re.compile(r"^\([\w-]+\)=\n", re.MULTILINE)
_RAW = re.compile(r"^```\{raw\}.*?^```\n?", re.MULTILINE | re.DOTALL)


def tutorial_number(text: str) -> int | None:
    """Which tutorial a page is, by its front matter; None for other pages."""
    front = _FRONT.match(text)
    found = yaml.safe_load(front[1]) if front else {}
    return found.get("tutorial")


def tutorials(folder: Path) -> dict[int, Path]:
    """Number -> page, of all pages below a folder."""
    found = {}
    for path in sorted(folder.rglob("*.md")):
        number = None if "_build" in path.parts else tutorial_number(path.read_text("utf-8"))
        if number is not None:
            found[number] = path
    return dict(sorted(found.items()))


def notebook_of(text: str) -> nbformat.NotebookNode:
    """A page as a notebook without outputs."""
    notebook = read_myst_markdown_notebook(text)
    language = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata = nbformat.from_dict({"kernelspec": language})
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if cell.cell_type == "markdown":
            for pattern, kept in ((_RAW, ""), (_PLACE, ""), (_LINK, r"\1"), (_ROLE, r"\1")):
                cell.source = pattern.sub(kept, cell.source)
    return notebook


def _add_line(app: Sphinx, docname: str, source: list[str]) -> None:
    """The line below the title."""
    number = tutorial_number(source[0])
    if number is None:
        return
    name = docname.rpartition("/")[2]
    last = len(tutorials(Path(app.srcdir)))
    line = (
        f'<p class="tutorial">Tutorial {number} of {last} · '
        f'<a href="{name}.ipynb" download>Download as a notebook</a></p>'
    )
    source[0] = _TITLE.sub(lambda title: f"{title[0]}\n\n{line}", source[0], count=1)


def _write_notebooks(app: Sphinx, exception: Exception | None) -> None:
    """Beside their pages, when all pages are there."""
    if exception is not None or app.builder.format != "html":
        return
    for path in tutorials(Path(app.srcdir)).values():
        place = Path(app.outdir, path.relative_to(app.srcdir)).with_suffix(".ipynb")
        place.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook_of(path.read_text("utf-8")), place)


def setup(app: Sphinx) -> dict:
    """Called by Sphinx."""
    app.connect("source-read", _add_line)
    app.connect("build-finished", _write_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
