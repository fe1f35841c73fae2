"""Writes of several neighbouring words of a memory at once, as tools know them.

A port that is wider than a memory's words is a block memory of two widths. Tools find it in one
form of Verilog (AMD UG901, "Simple Dual-Port Asymmetric RAM When Write is Wider than Read"): one
process, in which a loop writes the words. As processes of their own the same writes are as many
ports, which no block memory has.
"""

import re
from itertools import groupby

__all__ = ["joined_writes"]

#: A process that writes one word. Its number is the lowest bits of its address.
_WRITE = re.compile(
    r"""^\ \ always\ @\(posedge\ clk\)\ begin\n
        \ {4}if\ \((?P<enable>\w+)\)\n
        \ {6}(?P<memory>\w+)\[\{\ (?P<row>\w+),\ (?P<bits>\d+)'h(?P<number>[0-9a-f]+)\ \}\]
        \ <=\ (?P<word>\w+)\[(?P<high>\d+):(?P<low>\d+)\];\n
        \ \ end\n""",
    re.MULTILINE | re.VERBOSE,
)
_LOOP = """\
  always @(posedge clk)
  begin : {memory}_row
    integer _i_;
    reg [{last_bit}:0] _number_;
    for (_i_ = 0; _i_ < {count}; _i_ = _i_ + 1) begin : {memory}_word
      _number_ = _i_;
      if ({enable})
        {memory}[{{ {row}, _number_ }}] <= {word}[(_i_ + 1) * {width} - 1 -: {width}];
    end
  end
"""


def joined_writes(module: str) -> str:
    """The module's text with one process for writes of all words of an aligned row.

    These are processes that follow each other, write equally wide parts of one signal, and have the
    same enable and the same upper bits of their addresses.
    """
    found = list(_WRITE.finditer(module))
    for _, group in groupby(found, lambda write: write.group("memory", "row", "word", "enable")):
        writes = list(group)
        first, text = writes[0], "".join(write[0] for write in writes)
        bits, width = int(first["bits"]), int(first["high"]) + 1
        places = [
            (number, (number + 1) * width - 1, number * width) for number in range(len(writes))
        ]
        if len(writes) != 1 << bits or text not in module:
            continue
        if places == [(int(w["number"], 16), int(w["high"]), int(w["low"])) for w in writes]:
            loop = _LOOP.format(
                **first.groupdict(), last_bit=bits - 1, count=len(writes), width=width
            )
            module = module.replace(text, loop)
    return module
