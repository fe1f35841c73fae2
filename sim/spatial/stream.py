"""The Verilated circuit of a build, fed with codes."""

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from hw.spatial.build import SpatialBuild, spatial_verilog
from hw.tools.cache import cached_folder, keep_only
from nbqnn_train.graph import NbqnnError
from sim.verilator import compile_model, link, tool_versions, verilate

__all__ = ["StreamRun", "run_stream"]

_HARNESS = Path(__file__).with_name("harness.cpp")
_NAME = "spatial.so"
_FAULTS = {
    1: "the run did not end",
    2: "a result was withdrawn or changed before it was taken",
    3: "TLAST came with another result than that of its beat",
}


@dataclass(frozen=True)
class StreamRun:
    """The output: codes (N, F), int64, flattened, and the cycle of each handshake, (N, beats)."""

    codes: np.ndarray
    entered: np.ndarray
    left: np.ndarray


@cache
def _library(verilog: str, top: str, in_bytes: int, out_bytes: int) -> ctypes.CDLL:
    def build(folder: Path) -> None:
        verilate(verilog, top, folder)
        widths = [f"-DIN_BYTES={in_bytes}", f"-DOUT_BYTES={out_bytes}"]
        objects = compile_model(
            folder, own_sources=[_HARNESS], flags=["-fPIC"], own_flags=widths, optimize="-O1"
        )
        link(objects, folder / _NAME, ["-shared"])
        keep_only(folder, _NAME)

    key = (verilog, top, f"{in_bytes} {out_bytes}", _HARNESS.read_text(), tool_versions())
    library = ctypes.CDLL(str(cached_folder("spatial", key, build) / _NAME))
    library.spatial_run.restype = ctypes.c_int
    return library


def run_stream(
    build: Path,
    described: SpatialBuild,
    codes: np.ndarray,
    *,
    source_stall: float = 0.0,
    sink_stall: float = 0.0,
    seed: int = 1,
) -> StreamRun:
    """Streams codes (N, C) or (N, C, H, W) through the Verilog of a build.

    ``source_stall`` and ``sink_stall`` are the chances of a pause in a cycle, 0 to below 1.

    Raises :class:`NbqnnError` where the streams' rules are broken or the run does not end.
    """
    in_bytes = -(-described.inputs * described.input_bits // 8)
    out_bytes = -(-described.outputs * described.output_bits // 8)
    verilog, top = spatial_verilog(build, "")
    library = _library(verilog, top, in_bytes, out_bytes)
    images, places = len(codes), (described.input_positions, described.output_positions)
    positions = codes.reshape(images, described.inputs, -1).transpose(0, 2, 1)
    flat = positions.reshape(-1, described.inputs)
    beats = np.ascontiguousarray(_pack(flat, described.input_bits, in_bytes))
    out = np.zeros((images * places[1], out_bytes), np.uint8)
    entered, left = (np.zeros(images * count, np.uint64) for count in places)
    busy = (1 - source_stall) * (1 - sink_stall)
    most = described.cycles_per_image + 10 * max(places) * described.interval
    status = library.spatial_run(
        *(ctypes.c_uint64(number) for number in (images, *places)),
        *(a.ctypes.data_as(ctypes.c_void_p) for a in (beats, out, entered, left)),
        *(ctypes.c_uint32(round(rate * 65536)) for rate in (source_stall, sink_stall)),
        ctypes.c_uint64(seed),
        ctypes.c_uint64(1000 + 10 * described.latency + round(20 * images * most / busy)),
    )
    if status:
        raise NbqnnError(f"circuit in {str(build)!r}: {_FAULTS[status]}")
    unpacked = _unpack(out, described.outputs, described.output_bits, described.output_signed)
    words = unpacked.reshape(images, places[1], described.outputs).transpose(0, 2, 1)
    return StreamRun(
        words.reshape(images, -1),
        *(cycles.astype(np.int64).reshape(images, -1) for cycles in (entered, left)),
    )


def _pack(codes: np.ndarray, bits: int, size: int) -> np.ndarray:
    """Codes (N, F) as beats (N, size), uint8, feature 0 in the low bits."""
    planes = (codes[:, :, np.newaxis] >> np.arange(bits)) & 1
    flat = planes.reshape(len(codes), -1).astype(np.uint8)
    packed = np.packbits(flat, axis=1, bitorder="little")
    return np.pad(packed, ((0, 0), (0, size - packed.shape[1])))


def _unpack(beats: np.ndarray, count: int, bits: int, signed: bool) -> np.ndarray:
    planes = np.unpackbits(beats, axis=1, bitorder="little", count=count * bits)
    places = 1 << np.arange(bits, dtype=np.int64)
    if signed:
        places[-1] = -places[-1]
    return planes.reshape(len(beats), count, bits).astype(np.int64) @ places
