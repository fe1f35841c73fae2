"""Line and toggle coverage: Verilator's counts, read and added up by module."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

__all__ = ["Coverage"]

_POINT = re.compile(r"C '(.*)' (\d+)")
#: Yosys adds this line so that simulators evaluate a process at time zero. It is never reached.
_NEVER = re.compile(r"if \(_start_\) begin end")


@dataclass
class Coverage:
    """How often lines of the Verilog were reached and bits changed, over all instances of a module.

    Attributes
    ----------
    lines : dict
        (module, line's text and its number among equal ones) -> times; only lines in processes.
    toggles : dict
        (module, bit and direction) -> times.
    """

    lines: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    toggles: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    @classmethod
    def read(cls, path: Path, verilog: str) -> Self:
        """Reads a file of :meth:`sim.verilated.VerilatedAccelerator.write_coverage`.

        ``verilog`` is the text that the model was built from.
        """
        coverage = cls()
        texts = ["", *verilog.splitlines()]
        names = _numbered(texts)
        for row in path.read_text().splitlines():
            if (match := _POINT.fullmatch(row)) is None:
                continue
            items = (item.split("\x02", 1) for item in match[1].split("\x01") if item)
            fields, count = dict(items), int(match[2])
            kind, module = fields["page"].split("/", 1)
            if kind == "v_toggle":
                coverage.toggles[module, fields["o"]] += count
                continue
            for part in fields.get("S", "").split(","):
                first, _, last = part.partition("-")
                for line in range(int(first or 1), int(last or first or 0) + 1):
                    if not _NEVER.search(texts[line]):
                        coverage.lines[module, names[line]] += count
        return coverage

    def __add__(self, other: Self) -> Self:
        """The sum of both. Modules of the same name are the same module."""
        total = type(self)()
        for part in (self, other):
            for key, count in part.lines.items():
                total.lines[key] += count
            for key, count in part.toggles.items():
                total.toggles[key] += count
        return total

    @property
    def line_share(self) -> float:
        """Share of the lines that were reached, 0 to 1."""
        return _share(self.lines.values())

    @property
    def missed(self) -> list[tuple[str, str]]:
        """Module and text of the lines that were never reached."""
        return sorted(key for key, count in self.lines.items() if not count)

    def table(self) -> str:
        """Markdown: lines and toggles reached, by module and in all."""
        rows = ["| module | lines | reached | toggles | reached |", "|---|---:|---:|---:|---:|"]
        for name in [*sorted({module for module, _ in (*self.lines, *self.toggles)}), None]:
            cells = ["**all**" if name is None else name]
            for counts in (self.lines, self.toggles):
                chosen = [n for (module, _), n in counts.items() if name in (None, module)]
                cells += [str(len(chosen)), f"{100 * _share(chosen):.1f} %" if chosen else ""]
            rows.append(f"| {' | '.join(cells)} |")
        return "\n".join(rows) + "\n"


def _numbered(texts: list[str]) -> list[str]:
    """Lines of a module, numbered where the same text occurs again."""
    seen: dict[str, int] = defaultdict(int)
    names = []
    for text in texts:
        if text.startswith("module "):
            seen.clear()
        text = text.strip()
        seen[text] += 1
        names.append(text if seen[text] == 1 else f"{text} #{seen[text]}")
    return names


def _share(counts) -> float:
    counts = list(counts)
    return sum(count > 0 for count in counts) / len(counts) if counts else 1.0
