"""Pages of HTML with pictures and tables that need no other file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from plotly import graph_objects as go
from plotly.io import to_html
from plotly.offline import get_plotlyjs

__all__ = ["LEGEND", "Section", "html_table", "page"]

#: The legend of a picture: right above it, however high it is.
LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom"}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1100px; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #ddd; padding: 0.2em 0.8em; text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.scroll { max-height: 40em; overflow: auto; }
.note { color: #666; }
"""


@dataclass(frozen=True)
class Section:
    """A heading with pictures, finished HTML or both below it."""

    title: str
    parts: Sequence[go.Figure | str]


def html_table(rows: Iterable[Mapping[str, object]], columns: Mapping[str, str]) -> str:
    """Rows as a table: ``columns`` is field -> format, for example ``{"cycles": ",.0f"}``."""
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(row.get(k), form)}</td>" for k, form in columns.items())
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _cell(value: object, form: str) -> str:
    if value is None:
        return ""
    return escape(format(value, form) if isinstance(value, (int, float)) else str(value))


def page(title: str, sections: Iterable[Section], note: str = "") -> str:
    """The page, with the library that draws its pictures once in it. ``note`` is plain text."""
    body, pictures = [], 0
    for section in sections:
        body.append(f"<h2>{escape(section.title)}</h2>")
        for part in section.parts:
            if isinstance(part, str):
                body.append(part)
                continue
            # Numbered: with random names equal folders would give different pages.
            name = f"picture{pictures}"
            body.append(to_html(part, full_html=False, include_plotlyjs=False, div_id=name))
            pictures += 1
    script = f"<script>{get_plotlyjs()}</script>" if pictures else ""
    note = f'<p class="note">{escape(note)}</p>' if note else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>{script}</head>\n"
        f"<body><h1>{escape(title)}</h1>\n{note}\n" + "\n".join(body) + "\n</body></html>\n"
    )
