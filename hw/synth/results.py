"""Results of synthesis: area, and timing where the tool reports it."""

from dataclasses import asdict, dataclass
from typing import ClassVar

from hw.boards.board import Board
from hw.synth.area import Area
from hw.synth.fit import shares
from hw.synth.power import PowerEstimate
from hw.synth.timing.estimate import TimingEstimate
from nbqnn_train.graph.results import Result

__all__ = ["ArrayArea", "ModuleArea", "ProjectResult", "SynthResult", "synth_result"]


@dataclass(frozen=True, kw_only=True)
class ArrayArea:
    """The array alone; ``lanes`` are its multiply-equivalents a cycle."""

    derived: ClassVar[tuple[str, ...]] = ("lut_per_lane", "dsp_per_lane")

    lut: int
    ff: int
    bram36: float
    dsp: int
    lanes: int

    @property
    def lut_per_lane(self) -> float:
        return round(self.lut / self.lanes, 2)

    @property
    def dsp_per_lane(self) -> float:
        return round(self.dsp / self.lanes, 4)


@dataclass(frozen=True, kw_only=True)
class ModuleArea:
    """A module that was mapped alone: area of one instance, and number of instances."""

    instances: int
    lut: int
    ff: int
    bram36: float
    dsp: int


@dataclass(frozen=True, kw_only=True)
class ProjectResult(Result):
    """A project that was written but not run, since its tool is not on the path."""

    kind: ClassVar[str] = "project"

    tool: str
    board: str
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SynthResult(Result):
    """One accelerator on a board, as a tool reports it.

    share : resource -> percent of the board.
    modules : modules that were mapped alone; Yosys only.
    clock_mhz : the requested clock.
    fmax_mhz, met : the reached clock, and whether it is enough. Only for routed designs, as are the
        slacks, power, critical path and bitstream.
    setup_slack_ns, hold_slack_ns, power : Vivado only.
    components : Vivado: instances in the accelerator's core. Yosys for UltraScale+: path of an
        instance -> its area without those below it, all of which add up to the whole.
    critical_path, bitstream : nextpnr only. The path has ``from``, ``to``, ``delay_ns``,
        ``logic_ns`` and ``routing_ns``.
    estimated_power_w, estimated_power_low_w, estimated_power_high_w : what the fabric takes while
        it runs, estimated from counts, and its band; Yosys only, for devices that are known.
    estimated_power : the same by component, and what is beside it.
    estimated_mhz, estimated_low_mhz, estimated_high_mhz : the clock that the netlist should reach,
        by a static estimate, and its band; Yosys for UltraScale+ only. For a network that is a
        circuit of its own, by its additions, without a band.
    estimated_timing : the same with the slowest paths.
    latency : only for a network that is a circuit of its own.
    build : what the build was made from (:class:`hw.contract.origin.Origin`).
    """

    kind: ClassVar[str] = "synth"

    tool: str
    tool_version: str
    board: str
    part: str
    lut: int
    ff: int
    bram36: float
    dsp: int
    share: dict[str, float]
    array: ArrayArea
    modules: dict[str, ModuleArea] | None = None
    clock_mhz: int | None = None
    fmax_mhz: float | None = None
    met: bool | None = None
    setup_slack_ns: float | None = None
    hold_slack_ns: float | None = None
    components: dict[str, Area] | None = None
    power: dict | None = None
    critical_path: dict | None = None
    bitstream: str | None = None
    estimated_power_w: float | None = None
    estimated_power_low_w: float | None = None
    estimated_power_high_w: float | None = None
    estimated_power: PowerEstimate | None = None
    estimated_mhz: float | None = None
    estimated_low_mhz: float | None = None
    estimated_high_mhz: float | None = None
    estimated_timing: TimingEstimate | None = None
    latency: int | None = None
    build: dict | None = None

    @property
    def area(self) -> Area:
        return Area(lut=self.lut, ff=self.ff, bram36=self.bram36, dsp=self.dsp)


def synth_result(
    tool: str,
    tool_version: str,
    board: Board,
    total: Area,
    array: Area,
    lanes: int,
    **more: object,
) -> SynthResult:
    """The result of a tool; ``more`` are fields that only this tool has."""
    return SynthResult(
        tool=tool,
        tool_version=tool_version,
        board=board.name,
        part=board.part,
        **asdict(total),
        share=shares(total, board),
        array=ArrayArea(**asdict(array), lanes=lanes),
        **more,
    )
