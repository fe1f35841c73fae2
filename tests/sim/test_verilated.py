"""sim.verilated: a copying accelerator behind Python, and the harness's own checks."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hw.contract.memory_timing import MemoryTiming
from hw.driver import BusError
from hw.rtl.verilog import emit
from nbqnn_train.graph import NbqnnError
from sim.verilated import SimulationError, VerilatedAccelerator
from sim.verilator import ToolError, has_headers
from tests.sim.designs import COPIER_MAP, FAULTS, IDENTITY, Copier

MEMORY = 1 << 20
HALF = MEMORY // 2
BASE = 0x4000_0000
OFFSET = {register.name: register.offset for register in COPIER_MAP.registers}
DONE, READ_ERROR, WRITE_ERROR = 1, 2, 4


def model(data_width=64, **options):
    design = Copier(data_width)
    return VerilatedAccelerator(
        emit(design),
        design.module_name,
        data_width=data_width,
        memory_bytes=MEMORY,
        memory_base=BASE,
        **options,
    )


def copy(accelerator, source, target, beats, *, max_cycles=1_000_000):
    """Starts a copy between byte offsets into the memory; cycles until the interrupt."""
    accelerator.write(OFFSET["source"], BASE + source)
    accelerator.write(OFFSET["target"], BASE + target)
    accelerator.write(OFFSET["beats"], beats)
    accelerator.write(OFFSET["status"], 7)
    accelerator.write(OFFSET["start"], 1)
    return accelerator.run(max_cycles)


@pytest.fixture(scope="module")
def shared():
    with model() as accelerator:
        yield accelerator


@pytest.fixture
def copier(shared):
    """The 64-bit model, as new, with random content."""
    shared.reset()
    shared.clear_faults()
    shared.set_timing(MemoryTiming())
    rng = np.random.default_rng(7)
    shared.memory[:] = rng.integers(0, 256, MEMORY, dtype=np.uint8)
    return shared


@pytest.mark.parametrize("data_width", [32, 128, 512])
def test_widths(data_width):
    rng = np.random.default_rng(data_width)
    step = data_width // 8
    with model(data_width, timing=MemoryTiming(stall_rate=0.2)) as accelerator:
        assert accelerator.read(OFFSET["identity"]) == IDENTITY
        accelerator.memory[:] = rng.integers(0, 256, MEMORY, dtype=np.uint8)
        for beats in (1, 17, 300):
            expected = accelerator.memory.copy()
            expected[HALF + step :][: beats * step] = expected[5 * step :][: beats * step]
            copy(accelerator, 5 * step, HALF + step, beats)
            assert accelerator.irq
            np.testing.assert_array_equal(accelerator.memory, expected)
            assert accelerator.read(OFFSET["status"]) == DONE


def test_a_level_of_the_compiler_that_does_not_exist_is_refused(monkeypatch):
    monkeypatch.setenv("NBQNN_OPTIMIZE", "fast")
    with pytest.raises(NbqnnError, match=r"^NBQNN_OPTIMIZE must be 0, 1, 2 or 3, not 'fast'$"):
        model()


def test_bursts_are_kept_when_asked_for(copier):
    copy(copier, 0, HALF, 5)
    assert len(copier.bursts) == 0
    copier.keep_bursts()
    begin = copier.cycles
    copy(copier, 4096 - 64, HALF, 40)  # 8 of 64 bits up to the page's end
    bursts = copier.bursts
    for writes, base in ((0, BASE + 4096 - 64), (1, BASE + HALF)):
        own = bursts[bursts["writes"] == writes]
        assert own["beats"].sum() == 40
        assert (own["address"] == base + 8 * (own["beats"].cumsum() - own["beats"])).all()
        assert begin <= own["begin"][0]
        assert (own["end"] - own["begin"] >= own["beats"]).all()
        assert (np.diff(own["end"]) > 0).all()
        assert own["end"][-1] <= copier.cycles
    copier.reset()
    copy(copier, 0, HALF, 5)
    assert len(copier.bursts) == len(bursts)


@pytest.mark.parametrize(
    "timing",
    [
        MemoryTiming(read_latency=1, write_latency=1),
        MemoryTiming(outstanding=1),
        MemoryTiming(stall_rate=0.6, seed=5),
        MemoryTiming(bytes_per_cycle=3.3),
        MemoryTiming(refresh_every=50, refresh_cycles=20, bytes_per_cycle=12),
        MemoryTiming(read_latency=150, write_latency=90, stall_rate=0.1, bytes_per_cycle=12),
    ],
    ids=str,
)
def test_timings_change_no_data(copier, timing):
    copier.set_timing(timing)
    expected = copier.memory.copy()
    expected[HALF:][:40_000] = expected[4096 - 8 :][:40_000]
    copy(copier, 4096 - 8, HALF, 5000)
    assert copier.irq
    np.testing.assert_array_equal(copier.memory, expected)


def test_writes_are_shown_with_their_response(copier):
    copier.set_timing(MemoryTiming(write_latency=5000))
    before = copier.memory.copy()
    copy(copier, 0, HALF, 16, max_cycles=3000)
    assert copier.statistics.write_beats
    assert np.array_equal(copier.memory, before)
    copier.run(5000)
    assert copier.irq
    assert np.array_equal(copier.memory[HALF:][:128], before[:128])


@pytest.mark.parametrize("name", ["after_address", "before_address"])
def test_ways_to_take_writes(copier, name):
    """A design that waits for an address or for data to be taken first runs on some memories only.

    The seed decides; without stalls data is not taken first, and addresses do not wait.
    """
    ends = []
    for seed in range(12):
        copier.reset()
        copier.set_timing(MemoryTiming(stall_rate=0.01 if seed else 0.0, seed=seed))
        copier.write(OFFSET["fault"], 1 << FAULTS.index(name))
        copy(copier, 0, HALF, 16, max_cycles=5000)
        ends.append(copier.irq)
        if copier.irq:
            assert np.array_equal(copier.memory[HALF:][:128], copier.memory[:128])
    assert ends[0] == (name == "after_address")
    assert set(ends[1:]) == {True, False}


def test_memory_moves(copier):
    """The same memory at another address, up to the last one there is."""
    try:
        for base in (0, (1 << 32) - MEMORY, 0x1234_5000):
            copier.move_memory(base)
            copier.memory[HALF:] = 0
            for name, at in (("source", base), ("target", base + HALF)):
                copier.write(OFFSET[name], at)
            copier.write(OFFSET["beats"], HALF // 8)
            copier.write(OFFSET["status"], 7)
            copier.write(OFFSET["start"], 1)
            copier.run(1_000_000)
            assert copier.read(OFFSET["status"]) == DONE
            assert np.array_equal(copier.memory[HALF:], copier.memory[:HALF])
    finally:
        copier.move_memory(BASE)


def test_timing_is_what_was_asked_for(copier):
    """Cycles of a long copy follow from the port's and the memory's figures."""
    beats = 20_000
    assert copy(copier, 0, HALF, beats) == pytest.approx(beats, rel=0.01)
    # Both directions share the bandwidth.
    copier.set_timing(MemoryTiming(bytes_per_cycle=4))
    assert copy(copier, 0, HALF, beats) == pytest.approx(2 * beats * 8 / 4, rel=0.01)
    copier.set_timing(MemoryTiming(refresh_every=500, refresh_cycles=100))
    assert copy(copier, 0, HALF, beats) == pytest.approx(beats / 0.8, rel=0.02)
    # 8 bursts of 16 beats in flight: each comes again after a round trip and its own 16 beats.
    copier.set_timing(MemoryTiming(read_latency=400))
    assert copy(copier, 0, HALF, beats) == pytest.approx(beats / 128 * (400 + 16), rel=0.02)
    first = copy(copier, 0, HALF, 1)
    copier.set_timing(MemoryTiming(read_latency=500))
    assert copy(copier, 0, HALF, 1) == first + 100


def test_same_seed_same_cycles(copier):
    counts = set()
    for _ in range(2):
        copier.reset()
        copier.set_timing(MemoryTiming(stall_rate=0.4, seed=11))
        counts.add(copy(copier, 0, HALF, 1000))
    copier.set_timing(MemoryTiming(stall_rate=0.4, seed=12))
    assert copy(copier, 0, HALF, 1000) not in counts
    assert len(counts) == 1


def test_statistics_and_cycles(copier):
    before, cycles = copier.statistics, copier.cycles
    ran = copy(copier, 8, HALF, 100)
    after = copier.statistics
    assert after.read_beats - before.read_beats == 100
    assert after.write_beats - before.write_beats == 100
    # From beat 1 to the boundary at 16, then full bursts.
    assert after.read_bursts - before.read_bursts == 7
    assert copier.cycles - cycles >= ran


def test_run_stops_at_its_limit_and_at_the_interrupt(copier):
    assert copy(copier, 0, HALF, 1000, max_cycles=100) == 100
    assert not copier.irq
    assert copier.run(10_000) < 1100
    assert copier.irq
    assert copier.run(10) == 0
    assert copier.run(10, until_interrupt=False) == 10
    copier.write(OFFSET["status"], DONE)
    assert copier.run(10) == 10


@pytest.mark.parametrize("response", [2, 3])
def test_faults_reach_the_design(copier, response):
    """Bad beats are read as zero and not written; the copy ends; the rest is copied."""
    expected = copier.memory.copy()
    expected[HALF:][: 64 * 8] = expected[: 64 * 8]
    expected[HALF + 16 : HALF + 24] = 0
    copier.inject_fault(BASE + 16, BASE + 24, response=response)
    copy(copier, 0, HALF, 64)
    assert copier.read(OFFSET["status"]) == DONE | READ_ERROR
    np.testing.assert_array_equal(copier.memory, expected)
    copier.clear_faults()

    expected[HALF:][: 64 * 8] = expected[8192:][: 64 * 8]
    expected[HALF + 40 : HALF + 48] = copier.memory[HALF + 40 : HALF + 48]
    copier.inject_fault(BASE + HALF + 40, BASE + HALF + 41, response=response)
    copy(copier, 8192, HALF, 64)
    assert copier.read(OFFSET["status"]) == DONE | WRITE_ERROR
    np.testing.assert_array_equal(copier.memory, expected)


def test_outside_the_memory(copier):
    expected = copier.memory.copy()
    copy(copier, -8, HALF, 1)
    assert copier.read(OFFSET["status"]) == DONE | READ_ERROR
    expected[HALF : HALF + 8] = 0
    copy(copier, 0, MEMORY, 1)
    assert copier.read(OFFSET["status"]) == DONE | WRITE_ERROR
    np.testing.assert_array_equal(copier.memory, expected)


def test_register_error(copier):
    with pytest.raises(BusError, match=r"^cycle \d+: read of register 0x40 .* with SLVERR$"):
        copier.read(0x40)
    with pytest.raises(BusError, match=r"^cycle \d+: write of register 0x0 .* with SLVERR$"):
        copier.write(0, 1)
    assert copier.read(OFFSET["identity"]) == IDENTITY


BREACHES = {
    "unstable": "AW changed before it was accepted",
    "withdrawn": "W changed before it was accepted",
    "wlast": "WLAST is 0 with 1 beats of the burst to go",
    "page": "AR asks for 16 beats from 0x40000ff8, across a 4 KiB boundary",
    "size": "AR asks for beats of 1 bytes on a bus of 8",
    "unaligned": r"AW has address 0x40080001, which is no multiple of 8",
    "fixed": r"AR asks for burst type 0, not 1 \(incrementing\)",
    "deaf": "no response to a write of register 0x1c",
}


@pytest.mark.parametrize("fault", BREACHES)
def test_breaches_of_the_protocol_are_seen(copier, fault):
    """And a reset makes the model usable again."""
    copier.set_timing(MemoryTiming(stall_rate=0.5))
    message = BREACHES[fault]
    with pytest.raises(SimulationError, match=rf"^cycle \d+: {message}$"):  # noqa: PT012
        copier.write(OFFSET["fault"], 1 << FAULTS.index(fault))
        copy(copier, 0x800, HALF, 200)
    with pytest.raises(SimulationError, match=message):
        copier.run(10)
    copier.reset()
    copier.set_timing(MemoryTiming())
    copy(copier, 0, HALF, 200)
    assert copier.read(OFFSET["status"]) == DONE


def test_two_models_at_once(copier):
    """Each has its own state and memory."""
    with model() as other:
        other.memory[:] = 1
        copier.memory[:] = 2
        copier.write(OFFSET["beats"], 5)
        other.write(OFFSET["beats"], 6)
        assert copier.read(OFFSET["beats"]) == 5
        assert other.read(OFFSET["beats"]) == 6


def test_models_in_threads():
    """Models run side by side, each in a thread of its own, and do not disturb each other."""

    def work(seed):
        rng = np.random.default_rng(seed)
        timing = MemoryTiming(stall_rate=0.3, seed=seed)
        with model(timing=timing) as accelerator:
            accelerator.memory[:] = rng.integers(0, 256, MEMORY, dtype=np.uint8)
            expected = accelerator.memory.copy()
            expected[HALF:] = expected[:HALF]
            cycles = copy(accelerator, 0, HALF, HALF // 8)
            np.testing.assert_array_equal(accelerator.memory, expected)
            return cycles

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(work, range(4), timeout=120))
    assert together == [work(seed) for seed in range(4)]


def test_closed_model():
    with model() as accelerator:
        pass
    accelerator.close()
    with pytest.raises(ValueError, match=r"^The model must be open, it has been closed$"):
        accelerator.read(0)


def test_waveform_of_a_window(tmp_path):
    """A VCD file with the top's ports, of the cycles asked for, from time 0, complete."""
    path = tmp_path / "copier.vcd"
    with model(32, trace="vcd") as accelerator:
        copy(accelerator, 0, HALF, 4)
        accelerator.start_trace(path, half_period_ps=5)
        accelerator.run(10, until_interrupt=False)
        accelerator.stop_trace()
        accelerator.run(10, until_interrupt=False)
    text = path.read_text()
    for port in ("clk", "irq", "m_axi_araddr", "s_axi_wdata"):
        assert f" {port} " in text
    # Two evaluations a cycle.
    times = [int(line[1:]) for line in text.splitlines() if line.startswith("#")]
    assert times == list(range(0, 100, 5))


def test_switching_activity(tmp_path):
    """A SAIF file: the clock rises and falls once a cycle, the address moves once a burst."""
    path = tmp_path / "copier.saif"
    with model(32, trace="saif") as accelerator:
        accelerator.start_trace(path, half_period_ps=2000)
        accelerator.run(100, until_interrupt=False)
        accelerator.stop_trace()
    text = path.read_text()
    # One value lasts until the next: the last half period has no end.
    assert re.search(r"\(DURATION 398000\)", text)
    assert re.search(r"\(clk \(T0 200000\) \(T1 198000\) \(TZ 0\) \(TX 0\).* \(TC 199\)", text)


@pytest.mark.skipif(not has_headers(("lz4.h", "zlib.h")), reason="needs the headers of lz4, zlib")
def test_small_waveforms(tmp_path):
    path = tmp_path / "copier.fst"
    with model(32, trace="fst") as accelerator:
        accelerator.start_trace(path)
        accelerator.run(100, until_interrupt=False)
    # The first block of an FST file is its header, of 329 bytes.
    assert path.read_bytes()[:9] == b"\0" + (329).to_bytes(8, "big")


def test_fst_without_its_headers(monkeypatch):
    monkeypatch.setattr("sim.verilated.build.has_headers", lambda names: not names)
    with pytest.raises(ToolError, match=r"^FST .* lz4\.h, zlib\.h; remedy: apt install liblz4-dev"):
        model(32, trace="fst")


def test_traces_of_a_model_without(copier, tmp_path):
    with pytest.raises(ValueError, match=r"^The model must be built for traces to write "):
        copier.start_trace(tmp_path / "copier.vcd")


def test_speed(copier):
    """Whole networks take millions of cycles: a small design must be far above 100,000 a second.

    Of the processor's time: other processes do not count.
    """
    begin = time.process_time()
    cycles = copier.run(1_000_000, until_interrupt=False)
    assert cycles / (time.process_time() - begin) > 300_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data_width": 48}, r"Data width must be one of \(32, .*\), not 48"),
        ({"memory_bytes": 12}, r"Memory must be a multiple of 8 bytes, not 12"),
        ({"memory_bytes": 0}, r"Memory must be a multiple of 8 bytes, not 0"),
    ],
)
def test_refused_models(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        VerilatedAccelerator("", "top", **({"data_width": 64, "memory_bytes": 8} | options))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"read_latency": 0}, ValueError, r"read_latency must be in 1\.\.\d+, not 0"),
        ({"outstanding": 1.5}, TypeError, r"outstanding must be an integer, not 1\.5"),
        ({"stall_rate": 1}, ValueError, r"stall_rate must be in 0\.\.1, below 1, not 1"),
        ({"bytes_per_cycle": -1}, ValueError, r"bytes_per_cycle must be in 0\.\.\d+, not -1"),
    ],
)
def test_refused_timings(options, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        MemoryTiming(**options)


def test_refused_response(copier):
    with pytest.raises(ValueError, match=r"^Response must be 2 \(SLVERR\) or 3 .*, not 1$"):
        copier.inject_fault(0, 8, response=1)
