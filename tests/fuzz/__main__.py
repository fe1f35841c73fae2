"""Coverage-guided fuzzing of one kind of file, for the nightly run; needs ``atheris``.

python -m tests.fuzz program -max_total_time=600 [CORPUS]
"""

import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

#: A file that takes longer, in seconds, or more memory, in MB, is a finding.
_LIMITS = ("-timeout=60", "-rss_limit_mb=4096")
#: Writes the files to begin with. What runs in the fuzzer's own process before the first input
#: counts as reached by that input, and the fuzzer then drops all others.
_SEEDS = """
import sys
from pathlib import Path
from tests.fuzz.targets import TARGETS
target = TARGETS[sys.argv[1]]
for index, seed in enumerate(target.seeds()):
    target.read(seed)
    Path(sys.argv[2], str(index)).write_bytes(seed)
"""

if __name__ == "__main__":
    name = sys.argv[1]
    corpus = Path(tempfile.mkdtemp(prefix="nbqnn-corpus-"))
    os.environ["NBQNN_FUZZ_FOLDER"] = tempfile.mkdtemp(prefix="nbqnn-fuzz-")
    subprocess.run([sys.executable, "-c", _SEEDS, name, str(corpus)], check=True)
    with atheris.instrument_imports(include=["hw", "nbqnn_train", "scripts"]):
        from tests.fuzz.targets import TARGETS

        target = TARGETS[name]
        # A reader imports these when it is called, which would be too late to follow them.
        for module in target.modules:
            importlib.import_module(module)
    atheris.Setup([sys.argv[0], *_LIMITS, *sys.argv[2:], str(corpus)], target.check)
    atheris.Fuzz()
