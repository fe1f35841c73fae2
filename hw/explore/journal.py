"""A file of cycles that were counted before, so that a stopped search can go on."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import hw
from hw.contract.config import AcceleratorConfig, ConfigError
from hw.contract.files import write_text
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["Journal"]

#: Packages in :mod:`hw` that do not influence cycles.
_NO_CYCLES = ("boards", "driver", "explore", "rtl", "synth", "tools")


class Journal:
    """Configuration -> cycles, or the reason why it does not run; a line of JSON for each.

    The file appears with the first new entry. A file of another search or another version of this
    program is written anew, and so is one with a line that is not whole.

    Parameters
    ----------
    path : Path, optional
        The file; without one nothing is kept.
    depends_on : iterable of str
        What the cycles depend on beside the configuration.
    """

    def __init__(self, path: Path | None, depends_on: Iterable[str] = ()):
        self._path = path
        self._known: dict[AcceleratorConfig, int | str] = {}
        digest = hashlib.sha256("\0".join([_sources_digest(), *depends_on]).encode()).hexdigest()
        self._first_line = json.dumps({"cycles_of": digest}) + "\n"
        #: Whether the file is whole and of this search, so that lines can be added.
        self._intact = path is not None and self._read(path)

    def __contains__(self, config: AcceleratorConfig) -> bool:
        return config in self._known

    def __getitem__(self, config: AcceleratorConfig) -> int | str:
        return self._known[config]

    def __len__(self) -> int:
        return len(self._known)

    def add(self, config: AcceleratorConfig, cycles: int | str) -> None:
        """Adds an entry. Raises :exc:`NbqnnError` if the file cannot be written."""
        self._known[config] = cycles
        if self._path is None:
            return
        if not self._intact:
            lines = (_line(*entry) for entry in self._known.items())
            write_text(self._path, self._first_line + "".join(lines))
            self._intact = True
            return
        try:
            with self._path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(_line(config, cycles))
        except OSError as error:
            raise NbqnnError(
                f"file {str(self._path)!r} cannot be written: {error.strerror}"
            ) from None

    def _read(self, path: Path) -> bool:
        """Takes the file's entries. Returns whether the whole file could be used."""
        try:
            first, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
        except (OSError, UnicodeDecodeError):
            return False
        if first != self._first_line:
            return False
        for line in lines:
            try:
                entry = json.loads(line)
                config, cycles = AcceleratorConfig(**entry["config"]), entry["cycles"]
            except (ValueError, LookupError, TypeError, ConfigError):
                return False
            # A line must be exactly what would be written, or it is damaged.
            if line != _line(config, cycles):
                return False
            self._known[config] = cycles
        return True


def _line(config: AcceleratorConfig, cycles: int | str) -> str:
    return json.dumps({"config": asdict(config), "cycles": cycles}) + "\n"


def _sources_digest() -> str:
    """Digest of the sources of the compiler, the cycle model and all that they may use."""
    root = Path(hw.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in _NO_CYCLES:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
