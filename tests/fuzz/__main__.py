"""Coverage-guided fuzzing of one kind of file, for the nightly run; needs ``atheris``.

python -m tests.fuzz program -max_total_time=600 [CORPUS]
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["hw", "nbqnn_train", "scripts"]):
    from tests.fuzz.targets import TARGETS

#: A file that takes longer, in seconds, or more memory, in MB, is a finding.
_LIMITS = ("-timeout=60", "-rss_limit_mb=4096")

if __name__ == "__main__":
    target = TARGETS[sys.argv[1]]
    corpus = Path(tempfile.mkdtemp(prefix="nbqnn-corpus-"))
    for index, seed in enumerate(target.seeds()):
        (corpus / str(index)).write_bytes(seed)
        target.check(seed)
    atheris.Setup([sys.argv[0], *_LIMITS, *sys.argv[2:], str(corpus)], target.check)
    atheris.Fuzz()
