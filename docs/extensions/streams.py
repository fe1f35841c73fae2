"""What a cell prints is one text, joined as it came.

IPython hands on what a shell prints in pieces of 100 bytes. MyST-NB ends a line after each piece,
which cuts lines and tables. Here pieces are joined as they are.
"""

import re

import myst_nb.core.render
from nbformat import NotebookNode
from sphinx.application import Sphinx

__all__ = ["joined", "setup"]

#: What a carriage return takes back: the line so far.
_TAKEN_BACK = re.compile(r"[^\n]*\r(?!\n)")


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs of a cell with one stream of each name; stdout before stderr.

    Their order depends on the load of the machine, so streams stand where the first piece was.
    """
    texts: dict[str, list[str]] = {}
    for output in outputs:
        if output.output_type == "stream":
            texts.setdefault(output.name, []).append(output.text)
    streams = [
        NotebookNode(
            output_type="stream",
            name=name,
            text=_TAKEN_BACK.sub("", "".join(texts[name])).rstrip() + "\n",
        )
        for name in sorted(texts, reverse=True)
    ]
    kept = []
    for output in outputs:
        if output.output_type != "stream":
            kept.append(output)
        else:
            kept += streams
            streams = []
    return kept


def setup(app: Sphinx) -> dict[str, bool]:
    myst_nb.core.render.coalesce_streams = joined
    return {"parallel_read_safe": True}
