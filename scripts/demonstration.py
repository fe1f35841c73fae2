"""The demo: all stages, one after the other, on the 8×8 digits that scikit-learn ships."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from hw.boards.presets import load_config
from hw.boards.registry import find_board
from hw.compiler import compile_graph, save_program
from hw.rtl.generate import generate
from hw.synth import synth_yosys
from hw.synth.build import read_build
from hw.synth.results import SynthResult
from nbqnn_train.data import load_data
from nbqnn_train.evaluation import evaluate
from nbqnn_train.graph import save
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.config import TrainConfig
from nbqnn_train.learn.trained import export_run
from nbqnn_train.learn.training import train
from scripts.demo_result import DemoResult
from scripts.output import console, progress, spinner
from sim.results import SimulationResult
from sim.simulate import simulate

__all__ = ["run_demo"]

_BOARD = "zcu102"
_PRESET = "digits"
_SUMMARY = "summary.json"


def run_demo(out: Path, epochs: int | None = None) -> DemoResult:
    """Runs all stages. Their files are in the folder ``out``.

    ``out`` must be new, empty or of an earlier demo. That is replaced once everything is done.
    ``epochs`` are those of the training; None means the recipe's number.

    Returns the result in ``out/summary.json``.
    """
    out = Path(out)
    if out.exists() and not _may_be_replaced(out):
        raise NbqnnError(f"demo folder must be new, empty or of an earlier demo, not {str(out)!r}")
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        summary = _Demo(work, epochs).run()
        summary.write(work / _SUMMARY)
        if out.exists():
            shutil.rmtree(out)
        work.chmod(0o755)
        work.rename(out)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return summary


def _may_be_replaced(out: Path) -> bool:
    return out.is_dir() and ((out / _SUMMARY).is_file() or not any(out.iterdir()))


class _Demo:
    """One demo in the folder ``work``; every stage writes there and adds to the summary."""

    def __init__(self, work: Path, epochs: int | None):
        self.work = work
        self.training = TrainConfig(model="digits", data="digits", epochs=epochs)
        self.hardware = load_config(preset=_PRESET)
        self.seconds: dict[str, float] = {}

    def run(self) -> DemoResult:
        training, hardware = self.training, self.hardware
        with self._stage("train"):
            trained = train(training, self.work / "run")
        with self._stage("export"):
            graph = export_run(self.work / "run")
            save(graph, self.work / "digits.graph")
        with self._stage("evaluate"):
            evaluated = evaluate(self.work / "digits.graph", training.data)
        with self._stage("generate"):
            baseline = replace(hardware, name=f"{hardware.name}-multiply", pe="multiply")
            generate(hardware, self.work / "shift")
            generate(baseline, self.work / "multiply")
        with self._stage("compile"):
            program = compile_graph(graph, hardware)
            program = replace(program, build=read_build(self.work / "shift").origin)
            save_program(program, self.work / "digits.program")
        with self._stage("simulate"), progress("simulating") as report:
            simulated = self._simulate(report)
        with self._stage("synth"), spinner("yosys for shift and multiply") as step:
            synths = self._synthesize(step)
        return DemoResult(
            network={
                "model": training.model,
                "data": training.data,
                "bits": training.bits,
                "act_bits": training.act_bits,
            },
            train=trained,
            evaluate=evaluated,
            simulate=simulated,
            synth=synths,
            clock_mhz=hardware.clock_mhz,
            images_per_second=hardware.clock_mhz * 1e6 / simulated.cycles_per_image,
            seconds=self.seconds,
        )

    def _synthesize(self, step: Callable[[str], None]) -> dict[str, SynthResult]:
        """The area of both accelerators, from two processes at the same time."""
        kinds, board = ("shift", "multiply"), find_board(_BOARD)
        with ThreadPoolExecutor() as pool:
            results = pool.map(lambda pe: synth_yosys(self.work / pe, board, step), kinds)
            return dict(zip(kinds, results, strict=True))

    def _simulate(self, report) -> SimulationResult:
        """Runs all test images. They stay in the folder, for later simulations by hand."""
        test = load_data(self.training.data).test
        np.save(self.work / "test_images.npy", test.images())
        program, build = self.work / "digits.program", self.work / "shift"
        return simulate(program, test.images(), hw=build, progress=report)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)
        console.print(f"{name:10}{self.seconds[name]:6.1f} s")
