"""Pages of HTML with pictures and tables that need no other file."""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape

import numpy as np
from plotly import graph_objects as go
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

__all__ = ["LEGEND", "Section", "html_table", "page"]

#: The legend of a picture: right above it, however high it is.
LEGEND = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"}

#: Of a picture that says nothing of its height, in pixels.
_HEIGHT = 450

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; margin: 0 auto; max-width: 1100px;
  padding: 1em; }
h1, h2, nav, .verdict { overflow-wrap: anywhere; }
h3 { font-size: 1em; margin: 1.5em 0 0; }
h1 { margin-bottom: 0.2em; } h2 { margin-top: 2em; border-bottom: 2px solid #d5dde5; }
nav { display: flex; flex-wrap: wrap; gap: 0.3em 1.2em; margin: 1em 0; }
a { color: #0b5cad; }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #d5dde5; padding: 0.2em 0.8em; text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.table-wrapper { max-height: 40em; overflow: auto; }
.network svg { display: block; }
.note { color: #52606d; overflow-wrap: anywhere; }
.verdict { font-weight: 600; padding: 0.5em 0.8em; border-radius: 6px; background: #e8edf2; }
.verdict.good { background: #d9f2e1; color: #0b4d24; }
.verdict.bad { background: #fbdcdc; color: #7a1010; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 0.8em;
  margin: 1em 0; }
.card { border: 1px solid #d5dde5; border-radius: 6px; padding: 0.6em 0.9em; }
.card b { display: block; font-size: 1.5em; line-height: 1.3; }
.card.several b { font-size: 1.1em; line-height: 1.4; }
.card span { color: #52606d; font-size: 0.9em; display: block; }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)); gap: 0.6em; }
.samples figure { margin: 0; padding: 0.4em; border: 1px solid #d5dde5; border-radius: 6px;
  font-size: 0.85em; line-height: 1.3; overflow-wrap: anywhere; }
.samples .wrong { background: #fbdcdc; border-color: #c23b3b; color: #7a1010; }
.samples img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain;
  image-rendering: pixelated; background: #1c2733; margin-bottom: 0.3em; }
@media (max-width: 700px) {
  .modebar-container { display: none; }
  td:first-child { white-space: normal; min-width: 6em; overflow-wrap: anywhere; }
  th, td { padding: 0.2em 0.4em; }
}
@media print {
  body { font-size: 9pt; max-width: none; padding: 0; print-color-adjust: exact; }
  nav, .modebar-container { display: none; }
  h2, h3, .note { break-after: avoid; }
  h2 { margin-top: 1em; }
  .table-wrapper { max-height: none; overflow: visible; }
  th, td { padding: 0.1em 0.4em; font-size: 8pt; white-space: normal; overflow-wrap: anywhere; }
  .network svg { max-width: 100%; height: auto; break-inside: avoid; }
  .card, .samples figure, .picture, tr, .verdict { break-inside: avoid; }
  .plotly-graph-div, .svg-container, .main-svg { width: 100% !important; height: auto !important; }
  .svg-container > .main-svg:first-of-type { position: static !important; }
}
"""
#: How all pictures look. Plotly's own template takes 7 kB in each picture.
_AXIS = {
    "gridcolor": "#e1e7ed",
    "linecolor": "#9aa7b4",
    "zerolinecolor": "#c3ccd5",
    "automargin": True,
    "title": {"standoff": 10},
}
_TEMPLATE = {
    "layout": {
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "#1c2733"},
        "colorway": ["#2166ac", "#b35806", "#1b7837", "#762a83", "#b2182b", "#4d4d4d", "#01665e"],
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 60, "r": 30, "t": 40, "b": 50},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
    }
}
_CONFIG = {
    "responsive": True,
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}
#: Two digits hold 13 bits. "<" is none of them: it could begin a tag.
_DIGITS = "".join(chr(code) for code in range(33, 126) if chr(code) not in "<\\")
#: Unpacks the library that draws, then draws.
_DRAW = """
(async () => {
  const value = new Uint8Array(128);
  [...DIGITS].forEach((digit, number) => { value[digit.charCodeAt(0)] = number; });
  const text = document.getElementById("library").textContent;
  const bytes = new Uint8Array(LENGTH);
  let bits = 0, count = 0, at = 0;
  for (let i = 0; i < text.length; i += 2) {
    bits = bits << 13 | value[text.charCodeAt(i)] * 91 + value[text.charCodeAt(i + 1)];
    for (count += 13; count >= 8; bytes[at++] = bits >> count) count -= 8;
    bits &= (1 << count) - 1;
  }
  const packed = new Blob([bytes]).stream();
  const library = await new Response(packed.pipeThrough(new DecompressionStream("deflate"))).text();
  (0, eval)(library);
  for (const picture of document.querySelectorAll("script.picture"))
    new Function("template", "config", picture.textContent)(TEMPLATE, CONFIG);
})();
// Paper has another width than the screen: pictures are scaled to it.
const whole = () => document.querySelectorAll(".main-svg");
addEventListener("beforeprint", () => whole().forEach((one) =>
  one.setAttribute("viewBox", `0 0 ${one.getAttribute("width")} ${one.getAttribute("height")}`)));
addEventListener("afterprint", () => whole().forEach((one) => one.removeAttribute("viewBox")));
"""


@dataclass(frozen=True)
class Section:
    """A heading with pictures, finished HTML or both below it; ``note`` is plain text."""

    title: str
    parts: Sequence[go.Figure | str]
    note: str = ""


def html_table(
    rows: Iterable[Mapping[str, object]],
    columns: Mapping[str, str],
    heads: Sequence[str] | None = None,
) -> str:
    """Rows as a table: ``columns`` is field -> format, for example ``{"cycles": ",.0f"}``.

    ``heads`` are the columns' heads; None for the names of the fields."""
    if heads is None:
        heads = [name.replace("_", " ") for name in columns]
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(row.get(k), form)}</td>" for k, form in columns.items())
        for row in rows
    )
    return f'<div class="table-wrapper"><table><tr>{head}</tr>{body}</table></div>'


def _cell(value: object, form: str) -> str:
    if value is None:
        return ""
    return escape(format(value, form) if isinstance(value, (int, float)) else str(value))


def page(title: str, sections: Iterable[Section], note: str = "", top: str = "") -> str:
    """The page, with the library that draws its pictures once in it, packed.

    ``note`` is plain text, ``top`` is HTML right below the title.
    """
    body, links, pictures = [], [], 0
    for number, section in enumerate(sections):
        links.append(f'<a href="#part{number}">{escape(section.title)}</a>')
        body.append(f'<h2 id="part{number}">{escape(section.title)}</h2>')
        if section.note:
            body.append(f'<p class="note">{escape(section.note)}</p>')
        for part in section.parts:
            if isinstance(part, str):
                body.append(part)
                continue
            body.append(_picture(part, f"picture{pictures}"))
            pictures += 1
    library, draw = _packed_library() if pictures else ("", "")
    navigation = f"<nav>{' '.join(links)}</nav>" if len(links) > 2 else ""
    note = f'<p class="note">{escape(note)}</p>' if note else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>{library}</head>\n"
        f"<body><h1>{escape(title)}</h1>\n{top}\n{navigation}\n"
        + "\n".join(body)
        + f"\n{note}\n{draw}</body></html>\n"
    )


def _picture(figure: go.Figure, name: str) -> str:
    """The picture's place and what draws it there. Names are numbered: with random ones equal
    folders would give different pages."""
    described = figure.to_plotly_json()
    title = figure.layout.title.text
    layout = {
        key: value for key, value in described["layout"].items() if key not in ("template", "title")
    }
    # As text of the page a title is broken into lines where it is narrow.
    head = "" if title is None else f"<h3>{escape(title)}</h3>"
    height = layout.get("height", _HEIGHT)
    data, layout = (
        to_json_plotly(part).replace("<", "\\u003c") for part in (described["data"], layout)
    )
    return (
        f'<div class="picture">{head}<div id="{name}" class="plotly-graph-div" '
        f'style="height:{height}px"></div><script type="text/plain" class="picture">'
        f'Plotly.newPlot("{name}", {data}, Object.assign({{template}}, {layout}), config)'
        "</script></div>"
    )


@cache
def _packed_library() -> tuple[str, str]:
    """What holds the packed library, and the script that unpacks it and draws."""
    packed = zlib.compress(get_plotlyjs().encode(), 9)
    draw = _DRAW.replace("LENGTH", str(len(packed))).replace("DIGITS", json.dumps(_DIGITS))
    draw = draw.replace("TEMPLATE", json.dumps(_TEMPLATE)).replace("CONFIG", json.dumps(_CONFIG))
    return (
        f'<script type="text/plain" id="library">{_digits(packed)}</script>',
        f"<script>{draw}</script>",
    )


def _digits(content: bytes) -> str:
    """Bytes as text of :data:`_DIGITS`, 13 bits in two of them; the last ones may be padded."""
    bits = np.unpackbits(np.frombuffer(content, np.uint8))
    groups = np.pad(bits, (0, -len(bits) % 13)).reshape(-1, 13)
    numbers = groups @ (1 << np.arange(13)[::-1])
    codes = np.frombuffer(_DIGITS.encode(), np.uint8)
    return codes[np.stack(np.divmod(numbers, len(codes)), axis=1)].tobytes().decode()
