"""The result of the demo: the results of its stages."""

from dataclasses import dataclass
from typing import ClassVar

from hw.synth.results import SynthResult
from nbqnn_train.graph.results import Evaluation, Result
from nbqnn_train.learn.results import TrainingResult
from sim.results import SimulationResult

__all__ = ["DemoResult"]


@dataclass(frozen=True, kw_only=True)
class DemoResult(Result):
    """The results of all stages.

    network : ``model``, ``data``, ``bits``, ``act_bits``.
    synth : area of the accelerators ``shift`` and ``multiply``.
    seconds : by stage.
    """

    kind: ClassVar[str] = "demo"

    network: dict
    train: TrainingResult
    evaluate: Evaluation
    simulate: SimulationResult
    synth: dict[str, SynthResult]
    clock_mhz: int
    images_per_second: float
    seconds: dict[str, float]
