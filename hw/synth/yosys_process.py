"""Runs Yosys passes in a process of its own: ``python yosys_process.py PASSES.json``.

Yosys ends its process on an error, prints to the process's output and frees no memory. So it does
not run in the process of the command line. The argument is a file with a list of passes.
"""

import json
import sys
from pathlib import Path

from pyosys import libyosys

if __name__ == "__main__":
    design = libyosys.Design()
    for command in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        libyosys.run_pass(command, design)
