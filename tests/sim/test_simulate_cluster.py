"""simulate on a cluster: the same result for any number of workers, and for none."""

from dataclasses import replace

import numpy as np
import pytest

from hw.boards.presets import PRESETS
from hw.compiler import compile_graph
from hw.contract.memory_timing import MemoryTiming
from hw.tools.cluster import Cluster
from sim import runs
from sim.design import generated_design
from sim.simulate import simulate_program
from tests.cli.networks import small_graph
from tests.hw.tools.pieces import small_cluster

#: What was before moves the pauses of this memory: only a fresh one gives the same cycles.
TIMING = MemoryTiming(bytes_per_cycle=3.0, refresh_every=377, refresh_cycles=31, stall_rate=0.1)


@pytest.fixture(scope="module")
def program():
    return compile_graph(small_graph(), PRESETS["tiny"], batch=2)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(5).normal(0, 2, (21, 1, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def design(program):
    return generated_design(program)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Of two runs each."""
    monkeypatch.setattr(runs, "_BATCH", 4)


def test_any_number_of_workers_gives_the_result_of_none(program, images, design):
    """Of a right program and of one with a wrong weight, which differs in a piece of its own."""
    wrong = compile_graph(small_graph(), PRESETS["tiny"])
    wrong = replace(wrong, parameters=bytes([wrong.parameters[0] ^ 7]) + wrong.parameters[1:])
    # Black: no weight matters. Three pieces are right, then one is wrong in its second run.
    dark = images.copy()
    dark[:15] = 0
    options = {"design": design, "timing": TIMING}
    alone = [simulate_program(program, images, **options), simulate_program(wrong, dark, **options)]
    assert (alone[0].images, alone[0].mismatches) == (21, 0)
    assert (alone[1].images, alone[1].mismatches, alone[1].first_mismatch.image) == (16, 1, 15)
    for workers in (1, 2):
        with (
            small_cluster(workers) as own,
            Cluster(own.scheduler_address) as cluster,
        ):
            done = []
            found = simulate_program(
                program,
                images,
                cluster=cluster,
                progress=lambda *one, done=done: done.append(one),
                **options,
            )
            assert found == alone[0]
            assert sorted(of for of, _ in done)[-1] == 21
            assert {all_ for _, all_ in done} == {21}
            assert simulate_program(wrong, dark, cluster=cluster, **options) == alone[1]


def test_an_interrupt_keeps_the_images_that_ran(program, images, design):
    def interrupt(done, of):
        if done == 12:
            raise KeyboardInterrupt

    result = simulate_program(program, images, design=design, progress=interrupt)
    assert (result.images, result.complete, result.mismatches) == (8, False, 0)

    def at_once(done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_program(program, images, design=design, progress=at_once)
