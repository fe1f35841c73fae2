"""A compiled network: commands, packed weights, memory map, and the graph that it must equal."""

import json
import tempfile
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

from hw.config import AcceleratorConfig
from hw.isa import DESCRIPTOR_BYTES
from hw.layout import TensorLayout
from nbqnn_train.graph import Graph, NbqnnError, load, save, validate

__all__ = ["Port", "Program", "ProgramError", "ProgramLayer", "load_program", "save_program"]

_FORMAT = "nbqnn program"
_VERSION = 1
#: Entries of the file and the largest size that is read.
_ENTRIES = {
    "program.json": 1 << 26,
    "commands.bin": 1 << 23,
    "parameters.bin": 1 << 31,
    "graph": 1 << 31,
}
#: Fixed, so that equal programs are equal files.
_TIME = (1980, 1, 1, 0, 0, 0)


class ProgramError(NbqnnError):
    """A file that is not a program, or not one for this accelerator."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """A tensor in the host's memory: at ``offset`` in the input, output or scratch region."""

    name: str
    offset: int
    layout: TensorLayout


@dataclass(frozen=True, kw_only=True)
class ProgramLayer:
    """A layer as reports name it. ``output`` is the graph node whose codes it produces."""

    name: str
    output: str
    macs: int


@dataclass(frozen=True, kw_only=True)
class Program:
    """Everything needed to run a network on one configuration.

    ``commands`` are descriptors (:mod:`hw.isa`), ``parameters`` the image of the parameter region.
    ``traced`` holds the intermediate tensors that the program also stores, in the scratch region;
    it is empty for programs that are meant for use.
    """

    config: AcceleratorConfig
    graph: Graph
    commands: bytes
    parameters: bytes
    input: Port
    outputs: tuple[Port, ...]
    traced: tuple[Port, ...]
    layers: tuple[ProgramLayer, ...]

    @property
    def command_count(self) -> int:
        return len(self.commands) // DESCRIPTOR_BYTES


def save_program(program: Program, path: Path):
    """Writes one file, beside its place and renamed into it. Equal programs give equal bytes."""
    path = Path(path)
    described = {
        "format": _FORMAT,
        "version": _VERSION,
        "config": asdict(program.config),
        "input": asdict(program.input),
        "outputs": [asdict(port) for port in program.outputs],
        "traced": [asdict(port) for port in program.traced],
        "layers": [asdict(layer) for layer in program.layers],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            graph_file, archive_file = Path(folder, "graph"), Path(folder, "program")
            save(program.graph, graph_file)
            entries = {
                "program.json": (json.dumps(described, indent=1) + "\n").encode(),
                "commands.bin": program.commands,
                "parameters.bin": program.parameters,
                "graph": graph_file.read_bytes(),
            }
            with zipfile.ZipFile(archive_file, "w", zipfile.ZIP_STORED) as archive:
                for name, content in entries.items():
                    archive.writestr(zipfile.ZipInfo(name, _TIME), content)
            archive_file.replace(path)
    except OSError as error:
        raise ProgramError(f"program {path} cannot be written: {error.strerror}") from None


def load_program(path: Path) -> Program:
    """Reads and checks a program; nothing in it is executed.

    Raises :class:`ProgramError` for a file that is not one, is damaged or of another version.
    """
    path = Path(path)
    try:
        entries = _read_entries(path)
        described = json.loads(entries["program.json"])
        if described["format"] != _FORMAT:
            raise ProgramError(f"{path} is not a program: format is {described['format']!r}")
        if described["version"] != _VERSION:
            raise ProgramError(
                f"program {path} must be of version {_VERSION}, not {described['version']!r}"
            )
        with tempfile.TemporaryDirectory() as folder:
            graph_file = Path(folder, "graph")
            graph_file.write_bytes(entries["graph"])
            graph = load(graph_file)
        validate(graph)
        program = Program(
            config=AcceleratorConfig.from_dict(described["config"], str(path)),
            graph=graph,
            commands=entries["commands.bin"],
            parameters=entries["parameters.bin"],
            input=_port(described["input"]),
            outputs=tuple(_port(port) for port in described["outputs"]),
            traced=tuple(_port(port) for port in described["traced"]),
            layers=tuple(ProgramLayer(**layer) for layer in described["layers"]),
        )
    except OSError as error:
        raise ProgramError(f"program {path} cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ProgramError(f"program {path} is damaged: {error}") from None
    if len(program.commands) % DESCRIPTOR_BYTES or not program.commands:
        raise ProgramError(
            f"program {path} is damaged: {len(program.commands)} bytes of commands are not a "
            f"multiple of {DESCRIPTOR_BYTES}"
        )
    return program


def _read_entries(path: Path) -> dict[str, bytes]:
    """The file's entries; CRCs are checked by zipfile, sizes before anything is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if sorted(names) != sorted(_ENTRIES):
                raise ProgramError(
                    f"{path} is not a program: it must hold {', '.join(_ENTRIES)}, "
                    f"not {', '.join(names[:8])}"
                )
            for entry in archive.infolist():
                stored = entry.compress_type == zipfile.ZIP_STORED
                if not stored or entry.file_size > _ENTRIES[entry.filename]:
                    raise ProgramError(f"program {path} is damaged: entry {entry.filename}")
            return {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, ProgramError):
            raise
        raise ProgramError(f"{path} is not a program or is truncated: {error}") from None


def _port(fields: dict) -> Port:
    return Port(
        name=fields["name"], offset=fields["offset"], layout=TensorLayout(**fields["layout"])
    )
