"""A compiled network: commands, packed weights, memory map, and the graph that it must equal."""

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

from hw.contract.config import AcceleratorConfig
from hw.contract.extents import check_extents, check_transfers
from hw.contract.files import make_folder
from hw.contract.image_blocks import AxisBlocks, ImageBlocks
from hw.contract.isa import DESCRIPTOR_BYTES, MAX_COMMANDS, Region, read_commands
from hw.contract.origin import Origin
from hw.contract.words import TensorLayout, stored_offset
from nbqnn_train.graph import Graph, NbqnnError, TensorType, tensor_types
from nbqnn_train.graph.files import write_file
from nbqnn_train.graph.storage import decode, encode

__all__ = [
    "MAX_BATCH",
    "Port",
    "Program",
    "ProgramError",
    "ProgramLayer",
    "load_program",
    "save_program",
]

#: Most images of a run. Linear layers have images as positions, which a field of 16 bits counts.
MAX_BATCH = (1 << 16) - 1
_FORMAT = "nbqnn program"
#: 5: several inputs; commands write in steps and add to sums (``out_step``, ``adds``).
_VERSION = 5
#: Entries of the file and the largest size that is read.
_ENTRIES = {
    "program.json": 1 << 26,
    "commands.bin": 1 << 23,
    "parameters.bin": 1 << 31,
    "graph": 1 << 31,
}
#: A program's length is a field of 16 bits.
_MAX_COMMANDS_BYTES = MAX_COMMANDS * DESCRIPTOR_BYTES
#: Fixed, so that equal programs are equal files.
_TIME = (1980, 1, 1, 0, 0, 0)


class ProgramError(NbqnnError):
    """A file that is not a program, or not one for this accelerator."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """A tensor in the host's memory, at ``offset`` in the input, output or scratch region.

    ``layout`` covers all images of a batch, one above the other.
    """

    name: str
    offset: int
    layout: TensorLayout


@dataclass(frozen=True, kw_only=True)
class ProgramLayer:
    """A layer under its name in reports. ``output`` is the graph node whose codes it produces.

    A layer that runs in strips of rows, with another one between them, has an entry for each. In a
    program for a batch a layer may run once for each image, then ``image`` is its number. It is
    None where a layer works on all images at once.
    """

    name: str
    output: str
    macs: int
    image: int | None = 0


@dataclass(frozen=True, kw_only=True)
class Program:
    """Everything needed to run a network on one configuration.

    commands : descriptors (:mod:`hw.contract.isa`).
    parameters : the content of the region ``PARAMETERS``.
    inputs : where the images lie, in the order of the graph's inputs.
    blocks : how the host lays out the image's codes before they are packed; None for no change.
    traced : intermediate tensors that the program also stores, in the scratch region. A program for
        normal use has none.
    scratch_bytes : size of the scratch region, in all ports' memory together.
    batch : images of a run.
    build : the build that the program was compiled for; None if compiled for a configuration only.
    """

    config: AcceleratorConfig
    graph: Graph
    commands: bytes
    parameters: bytes
    inputs: tuple[Port, ...]
    blocks: ImageBlocks | None
    outputs: tuple[Port, ...]
    traced: tuple[Port, ...]
    scratch_bytes: int
    layers: tuple[ProgramLayer, ...]
    batch: int = 1
    build: Origin | None = None

    @property
    def command_count(self) -> int:
        return len(self.commands) // DESCRIPTOR_BYTES

    @property
    def region_bytes(self) -> dict[Region, int]:
        """What each region of the host's memory holds, in all ports' memory together."""

        def extent(ports: tuple[Port, ...]) -> int:
            return max(
                (port.offset + port.layout.host_bytes(self.config) for port in ports), default=0
            )

        return {
            Region.PROGRAM: len(self.commands),
            Region.PARAMETERS: len(self.parameters),
            Region.INPUT: extent(self.inputs),
            Region.OUTPUT: extent(self.outputs),
            Region.SCRATCH: self.scratch_bytes,
        }

    def per_image(self, values: Iterable[Mapping[str, float]]) -> dict[str, dict[str, float]]:
        """Layer's name -> its values for one image.

        ``values`` has a mapping for each entry of ``layers``. A layer that runs in strips, or once
        for each image of the batch, has several entries. They are added, and the sums are divided
        by ``batch``.
        """
        sums: dict[str, dict[str, float]] = {}
        for layer, one in zip(self.layers, values, strict=True):
            total = sums.setdefault(layer.name, dict.fromkeys(one, 0))
            for name, value in one.items():
                total[name] += value
        return {
            layer: {name: value / self.batch for name, value in total.items()}
            for layer, total in sums.items()
        }


def save_program(program: Program, path: Path):
    """Writes a file under a temporary name and renames it. Equal programs give equal bytes."""
    path = Path(path)
    described = {
        "format": _FORMAT,
        "version": _VERSION,
        "config": asdict(program.config),
        "inputs": [asdict(port) for port in program.inputs],
        "blocks": None if program.blocks is None else asdict(program.blocks),
        "scratch_bytes": program.scratch_bytes,
        "outputs": [asdict(port) for port in program.outputs],
        "traced": [asdict(port) for port in program.traced],
        "layers": [asdict(layer) for layer in program.layers],
        "batch": program.batch,
    }
    if program.build is not None:
        described["build"] = program.build.to_dict()
    if program.batch == 1:
        # The same text as before there were batches.
        del described["batch"]
        for layer in described["layers"]:
            del layer["image"]
    entries = {
        "program.json": (json.dumps(described, indent=1) + "\n").encode(),
        "commands.bin": program.commands,
        "parameters.bin": program.parameters,
        "graph": encode(program.graph),
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, entry in entries.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), entry)
    make_folder(path, "program", ProgramError)
    write_file(path, content.getvalue(), "program", ProgramError)


def load_program(path: Path) -> Program:
    """Reads and checks a program; nothing in it is executed.

    Raises :class:`ProgramError` for a file that is not one, is damaged or of another version.
    """
    path = Path(path)
    try:
        return _program(path, _read_entries(path))
    except ProgramError:
        raise
    except OSError as error:
        raise ProgramError(f"program {path} cannot be read: {error.strerror}") from None
    # Also for numbers of too many digits (ValueError) and brackets nested too deeply.
    except (ValueError, RecursionError) as error:
        raise ProgramError(f"program {path} is damaged: {error}") from None


def _program(path: Path, entries: dict[str, bytes]) -> Program:
    described = json.loads(entries["program.json"])
    form = _field(described, "format", str)
    if form != _FORMAT:
        raise ProgramError(f"{path} is not a program: format is {form!r}")
    version = _field(described, "version", int)
    if version != _VERSION:
        raise ProgramError(
            f"program {path} must be of version {_VERSION}, not {version}; "
            "remedy: compile its graph again"
        )
    config = AcceleratorConfig.from_dict(_field(described, "config", dict), "config")
    graph = _graph(entries["graph"])
    sources = [node.name for node in graph.input_nodes]
    types = tensor_types(graph)
    blocks = _blocks(described.get("blocks"))
    if blocks is not None and [types[name].shape[0] for name in sources] != [blocks.channels]:
        raise ValueError(f"the image's blocks must be of the one input, not {blocks}")
    batch = _number({"batch": 1} | described, "batch", 1, MAX_BATCH)
    sizes = {name: batch * prod(type_.shape) for name, type_ in types.items()}
    blocked = sizes if blocks is None else sizes | {sources[0]: batch * prod(blocks.shape)}
    ports = {
        "inputs": [
            _port(config, types, blocked, batch, fields)
            for fields in _field(described, "inputs", list)
        ],
        "outputs": [
            _port(config, types, sizes, batch, fields)
            for fields in _field(described, "outputs", list)
        ],
        "traced": [
            _port(config, types, sizes, batch, fields)
            for fields in _field(described, "traced", list)
        ],
    }
    for what, wanted in (("inputs", sources), ("outputs", [*dict.fromkeys(graph.outputs)])):
        names = [port.name for port in ports[what]]
        if names != wanted:
            raise ValueError(f"{what} must be {wanted}, not {names}")
    scratch_bytes = _number(described, "scratch_bytes", 0, 1 << 34)
    check_extents(config, types, batch, ports, scratch_bytes)
    commands = entries["commands.bin"]
    if len(commands) % DESCRIPTOR_BYTES or not 0 < len(commands) <= _MAX_COMMANDS_BYTES:
        raise ValueError(
            f"commands must be 1...{_MAX_COMMANDS_BYTES // DESCRIPTOR_BYTES} descriptors of "
            f"{DESCRIPTOR_BYTES} bytes, not {len(commands)} bytes"
        )
    program = Program(
        config=config,
        graph=graph,
        commands=commands,
        parameters=entries["parameters.bin"],
        inputs=tuple(ports["inputs"]),
        blocks=blocks,
        outputs=tuple(ports["outputs"]),
        traced=tuple(ports["traced"]),
        scratch_bytes=scratch_bytes,
        layers=tuple(
            ProgramLayer(
                name=_field(layer, "name", str),
                output=_field(layer, "output", str),
                macs=_number(layer, "macs", 0, 1 << 62),
                image=_image(layer, batch),
            )
            for layer in _field(described, "layers", list)
        ),
        batch=batch,
        build=Origin.from_dict(described["build"]) if "build" in described else None,
    )
    check_transfers(config, read_commands(commands), program.region_bytes)
    return program


def _image(layer: object, batch: int) -> int | None:
    if batch == 1:
        return 0
    if isinstance(layer, dict) and layer.get("image", 0) is None:
        return None
    return _number(layer, "image", 0, batch - 1)


def _graph(content: bytes) -> Graph:
    try:
        return decode(content)
    except NbqnnError as error:
        raise ValueError(f"Graph file 'graph': {error}") from None


def _blocks(fields: object) -> ImageBlocks | None:
    if fields is None:
        return None
    axes = {
        axis: AxisBlocks(
            **{
                name: _number(_field(fields, axis, dict), name, low, 1 << 16)
                for name, low in (
                    ("block", 1),
                    ("spacing", 1),
                    ("stride", 1),
                    ("padding", 0),
                    ("count", 1),
                )
            }
        )
        for axis in ("rows", "columns")
    }
    return ImageBlocks(channels=_number(fields, "channels", 1, 1 << 16), **axes)


def _port(
    config: AcceleratorConfig,
    types: dict[str, TensorType],
    sizes: dict[str, int],
    batch: int,
    fields: dict,
) -> Port:
    name = _field(fields, "name", str)
    type_ = types.get(name)
    if type_ is None or type_.is_accumulator:
        raise ValueError(f"port {name!r} must be an activation of the graph")
    described = _field(fields, "layout", dict)
    layout = TensorLayout(
        **{key: _number(described, key, 1, 1 << 24) for key in ("channels", "height", "width")},
        pitch=_number(described, "pitch", 1, 1 << 16),
        offset=_number(described, "offset", 0, 1 << 16),
    )
    size = layout.channels * layout.height * layout.width
    if (
        size != sizes[name]
        or layout.height % batch
        or layout.offset != stored_offset(config, type_)
    ):
        raise ValueError(f"port {name!r} must be laid out for {type_}, not as {layout}")
    return Port(name=name, offset=_number(fields, "offset", 0, (1 << 32) - 1), layout=layout)


def _field(fields: object, name: str, kind: type):
    """The field of that name. It must exist and have that kind."""
    if not isinstance(fields, dict):
        raise ValueError(f"{name} must be a field of a table, not of a {type(fields).__name__}")
    if name not in fields:
        raise ValueError(f"field {name!r} is missing")
    if type(fields[name]) is not kind:
        raise ValueError(
            f"field {name!r} must be of type {kind.__name__}, not {type(fields[name]).__name__}"
        )
    return fields[name]


def _number(fields: object, name: str, low: int, high: int) -> int:
    value = _field(fields, name, int)
    if not low <= value <= high:
        raise ValueError(f"field {name!r} must be {low}...{high}, not {value}")
    return value


def _read_entries(path: Path) -> dict[str, bytes]:
    """The file's entries; CRCs are checked by zipfile, sizes before anything is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if sorted(names) != sorted(_ENTRIES):
                raise ProgramError(
                    f"{path} is not a program: it must hold {', '.join(_ENTRIES)}, "
                    f"not {', '.join(map(repr, names[:8]))}"
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
