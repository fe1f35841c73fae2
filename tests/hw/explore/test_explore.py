"""hw.explore: what is found is within the budget, worth having, and the same on any machine."""

from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.boards.presets import PRESETS
from hw.boards.registry import find_board
from hw.compiler import CompileError, compile_graph
from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import BoardMemory, MemoryTiming
from hw.explore import Budget, Candidate, explore
from hw.explore.bound import least_cycles, work_of
from hw.explore.candidates import beaten, front
from hw.explore.requirements import base_config
from hw.explore.space import grid, neighbours
from hw.model.cycles import estimate_cycles
from hw.tools.cluster import Cluster
from nbqnn_train.graph import Input, save
from nbqnn_train.graph.operators import Multiply, Table
from tests.hw.networks import Network, random_table, small_network
from tests.hw.tools.pieces import small_cluster

MEMORY = BoardMemory(bytes_per_s=10e9, read_ns=100, write_ns=50)


@dataclass(frozen=True)
class Model:
    """Made up, but it grows with what it should grow with."""

    lut: int
    ff: int
    bram36: float
    dsp: int


def area(config: AcceleratorConfig) -> Model:
    bits = config.act_depth * config.act_word_bits + config.weight_depth * config.weight_word_bits
    return Model(
        lut=5_000 + 20 * config.multiplies_per_cycle + 200 * config.post_lanes,
        ff=10_000,
        bram36=max(8, bits >> 15),
        dsp=0,
    )


@pytest.fixture(scope="module")
def graph():
    net = Network(seed=3)
    net.add(Input, "image", shape=(3, 16, 16), bits=8, signed=False, exponent=0)
    for number, (channels, outputs) in enumerate(((3, 16), (16, 32), (32, 8))):
        net.conv(f"conv{number}", (outputs, channels, 3, 3), 3, padding=(1, 1, 1, 1))
        net.requantize(f"out{number}", 8, False)
    return net.graph()


@pytest.fixture(scope="module")
def file(graph, tmp_path_factory):
    path = tmp_path_factory.mktemp("explore") / "graph"
    save(graph, path)
    return path


def search(file, lut=60_000, bram36=200, **options):
    budget = Budget(lut=lut, ff=500_000, bram36=bram36, dsp=0)
    return explore(file, "board", budget, MEMORY, area, **options)


@pytest.fixture(scope="module")
def found(file):
    return search(file, most=60, processes=1)


def test_everything_is_within_the_budget_and_has_the_models_figures(graph, found):
    assert 10 < len(found.candidates) <= found.compiled <= 60 < found.considered
    macs = sum(16 * 16 * 9 * a * b for a, b in ((3, 16), (16, 32), (32, 8)))
    for candidate in found.candidates:
        assert asdict(area(candidate.config)).items() <= asdict(candidate).items()
        assert candidate.lut <= 60_000
        assert candidate.bram36 <= 200
        seconds = candidate.cycles / 250e6
        assert candidate.gops == pytest.approx(2e-9 * macs / seconds)
    cycles = [candidate.cycles for candidate in found.candidates]
    assert cycles == sorted(cycles)
    # By another way: the whole program, with its weights.
    best = found.best
    model = MemoryTiming(read_latency=25, write_latency=12, bytes_per_cycle=40)
    assert estimate_cycles(compile_graph(graph, best.config), model).cycles == best.cycles


def test_the_front_is_what_none_beats(found):
    for one in found.front:
        for other in found.candidates:
            better = all(a < 0.98 * b for a, b in zip(other.costs, one.costs, strict=True))
            assert not better, (one, other)
    assert found.best.cycles == min(candidate.cycles for candidate in found.candidates)
    for candidate in found.candidates:
        assert beaten(candidate.costs, found.front)


def test_results_do_not_depend_on_the_number_of_processes(file, found):
    reports = []
    again = search(file, most=60, processes=2, progress=lambda done, of: reports.append((done, of)))
    assert again == found
    assert reports == [(done, 60) for done in range(1, found.compiled + 1)]


def test_workers_of_a_cluster_find_the_same(file, found):
    with small_cluster(2) as own, Cluster(own.scheduler_address) as cluster:
        assert search(file, most=60, cluster=cluster) == found


def test_an_interrupted_search_has_what_it_found_and_goes_on(file, found, tmp_path, monkeypatch):
    """The same in the end, and nothing that was counted is counted again."""
    journal = tmp_path / "cycles"

    def interrupt(done, of):
        if done == 25:
            raise KeyboardInterrupt

    first = search(file, most=60, processes=1, journal=journal, progress=interrupt)
    assert not first.complete
    assert first.compiled == 25
    assert 0 < len(first.candidates) < 25
    assert first.candidates == tuple(sorted(first.candidates, key=lambda c: c.cycles))
    counted = journal.read_text().splitlines()
    assert len(counted) == 1 + 25

    again = search(file, most=60, processes=1, journal=journal)
    assert again == found
    assert journal.read_text().splitlines()[: len(counted)] == counted
    assert len(journal.read_text().splitlines()) == 1 + found.compiled

    # Now everything is known: no process has anything to do.
    monkeypatch.setattr("hw.explore.evaluate._cycles", None)
    assert search(file, most=60, processes=1, journal=journal) == found


def test_interrupted_before_anything_was_found(file):
    def interrupt(done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(file, most=60, processes=1, progress=interrupt)


def test_refining_finds_better_than_the_grid(file, found):
    coarse = search(file, most=16, processes=1)
    assert found.best.cycles < coarse.best.cycles


def test_no_configuration_fits(file):
    with pytest.raises(CompileError, match=r"^no configuration of at most 5,100 LUTs and 200 BRAM"):
        search(file, lut=5_100, processes=1)


def test_no_configuration_runs(tmp_path):
    """The largest memories are too small for one row: the compiler's reason is passed on."""
    net = Network(seed=1)
    net.add(Input, "image", shape=(512, 4, 4096), bits=8, signed=False, exponent=0)
    net.conv("conv", (512, 512, 3, 3), 3, padding=(1, 1, 1, 1)).requantize("out", 8, False)
    save(net.graph(), tmp_path / "graph")
    with pytest.raises(CompileError, match=r"runs the graph: layer conv: .* act_depth = "):
        search(tmp_path / "graph", lut=10_000, bram36=40, processes=1)


def candidates_of(costs):
    return [
        Candidate(
            config=PRESETS["tiny"], cycles=cycles, macs=1, lut=lut, ff=0, bram36=bram36, dsp=0
        )
        for cycles, lut, bram36 in costs
    ]


@given(st.lists(st.tuples(*[st.integers(1, 400)] * 3), min_size=1, max_size=30))
def test_front_keeps_nothing_beaten_and_beats_everything_else(costs):
    candidates = candidates_of(costs)
    chosen = front(candidates)
    assert all(beaten(candidate.costs, chosen) for candidate in candidates)
    assert chosen[0].cycles == min(candidate.cycles for candidate in candidates)
    assert [c.cycles for c in chosen] == sorted(c.cycles for c in chosen)
    for place, candidate in enumerate(chosen):
        assert not beaten(candidate.costs, chosen[:place])


@pytest.mark.parametrize("name", ["tiny", "digits", "zcu102-8bit", "zcu102-16bit"])
@pytest.mark.parametrize("pixels", [1, 3])
def test_no_program_takes_less_than_the_bound(graph, name, pixels):
    preset = PRESETS[name]
    config = replace(
        preset,
        pixels=pixels,
        post_positions=min(2, pixels),
        acc_bits=32,
        weight_depth=512,
        depthwise_taps=min(preset.depthwise_taps, pixels),
    )
    cycles = estimate_cycles(compile_graph(graph, config, pack=False)).cycles
    bound = least_cycles(work_of(graph), config)
    assert cycles / 12 < bound < cycles


def test_least_cycles_by_hand(graph):
    """16 lanes × 16 filters × 2 pixels: steps where they are many, else draining."""
    config = replace(PRESETS["digits"], post_lanes=8)
    steps = [128 * 2, 128 * 9 * 2, 128 * 18]
    drain = [256 * 2, 256 * 2 * 2, 256]
    assert least_cycles(work_of(graph), config) == sum(map(max, steps, drain))
    together = replace(config, post_positions=2)
    drain = [256, 256 * 2, 128]
    assert least_cycles(work_of(graph), together) == sum(map(max, steps, drain))


def test_widths_are_the_narrowest(graph):
    base = base_config(graph, "shift", 200)
    assert (base.act_bits, base.weight_bits, base.requant, base.clock_mhz) == (8, 3, "shift", 200)
    compile_graph(graph, base)
    for field in ("act_bits", "weight_bits", "acc_bits"):
        with pytest.raises(CompileError):
            compile_graph(graph, replace(base, **{field: getattr(base, field) - 1}))


def test_scale_only_where_it_is_needed():
    for scale, requant in ((False, "shift"), (True, "scale")):
        graph = small_network(act_bits=8, weight_bits=3, scale=scale)
        assert base_config(graph, "shift", 250).requant == requant


def test_presets_are_among_the_first(graph):
    base = base_config(graph, "shift", 250)
    shapes = [next(iter(depths), None) for memories in grid(base, "zcu102") for depths in memories]
    wanted = PRESETS["zcu102-8bit"]
    fields = ("lanes", "filters", "pixels", "post_lanes", "post_positions", "act_depth")
    first = shapes[: len(PRESETS) + 1]
    found = [one for one in first if all(getattr(one, f) == getattr(wanted, f) for f in fields)]
    assert [one.name for one in found] == ["zcu102-64x32x5", "zcu102-64x32x5-3taps"]
    assert (found[0].acc_bits, found[0].weight_depth) == (base.acc_bits, wanted.weight_depth)


def test_neighbours_differ_in_a_step_and_are_possible():
    sizes = {"lanes": 64, "filters": 32, "pixels": 4, "post_lanes": 32, "act_depth": 32768}
    sizes["post_positions"] = 3
    config = replace(PRESETS["zcu102-8bit"], name="board-64x32x4", depthwise_taps=1, **sizes)
    near = list(neighbours(config, "board"))
    assert len({one.digest for one in near} | {config.digest}) == len(near) + 1
    assert replace(config, name="board-64x40x4", filters=40, post_lanes=8) in near
    assert replace(config, name="board-128x32x3", lanes=128, pixels=3) in near
    assert replace(config, act_depth=16384) in near
    assert replace(config, post_positions=2) in near
    few = replace(config, name="board-64x32x3", pixels=3)
    assert replace(few, name="board-64x32x2", pixels=2, post_positions=2) in list(
        neighbours(few, "board")
    )
    more = {"pixels": 5, "dsp_pixels": 1}
    assert replace(config, name="board-64x32x5-1dsp", **more) in near
    assert replace(config, name="board-64x32x4-1dsp", dsp_pixels=1) in near
    assert replace(config, name="board-64x32x4-2taps", depthwise_taps=2) in near
    for one in near:
        in_blocks = f"-{one.dsp_pixels}dsp" if one.dsp_pixels else ""
        in_blocks += f"-{one.dsp_filters}more" if one.dsp_filters else ""
        in_blocks += f"-{one.depthwise_taps}taps" if one.depthwise_taps > 1 else ""
        assert one.name == f"board-{one.lanes}x{one.filters}x{one.pixels}{in_blocks}"


def test_budget_of_a_board():
    budget = Budget.of(find_board("zcu102"))
    assert (budget.lut, budget.bram36, budget.dsp) == (205_560, 775, 2_268)


def test_without_weights_the_commands_are_the_same(graph):
    whole, bare = (compile_graph(graph, PRESETS["tiny"], pack=pack) for pack in (True, False))
    assert bare.commands == whole.commands
    assert whole.parameters
    assert not bare.parameters


def test_memories_are_no_larger_than_the_network_needs(graph, file):
    """Of every configuration worth having: half of a memory would cost cycles, or cannot be."""
    found = search(file, lut=20_000, most=150, processes=2)
    assert found.compiled < 150, "every front member must have been trimmed"
    timing = MEMORY.timing(250)
    for candidate in found.front:
        config = candidate.config
        assert config.act_depth <= 4096, config
        for field, least in (("act_depth", 256), ("weight_depth", 256), ("param_depth", 64)):
            if (depth := getattr(config, field)) == least:
                continue
            half = replace(config, **{field: depth // 2})
            try:
                cycles = estimate_cycles(compile_graph(graph, half), timing).cycles
            except CompileError:
                continue
            assert cycles > candidate.cycles, (field, config)


@pytest.mark.parametrize(("tables", "products"), [(True, False), (False, True), (True, True)])
def test_tables_and_products_where_the_graph_needs_them(tables, products):
    net = Network(seed=5).add(Input, "image", shape=(8, 4, 4), bits=8, signed=True, exponent=-4)
    if tables:
        random_table(net, "function", "image", 8, signed=True)
    if products:
        net.add(Multiply, "square", operands=(net.last, net.last), acc_bits=20)
        net.requantize("squared", 8, True)
    graph = net.graph()
    base = base_config(graph, "shift", 250)
    assert (base.tables, base.products) == (tables, products)
    compile_graph(graph, base)
    for config in (next(next(iter(depths))) for depths in grid(base, "zcu102")):
        assert (config.tables, config.products) == (tables, products)


def test_wide_tables_are_refused_for_what_they_are():
    net = Network(seed=5).add(Input, "image", shape=(8, 4, 4), bits=9, signed=True, exponent=-4)
    net.add(Table, "wide", table=np.arange(257), bits=9, signed=False, exponent=-3)
    assert base_config(net.graph(), "shift", 250).tables
    net.add(Table, "wider", table=np.arange(512), bits=9, signed=False, exponent=-3)
    with pytest.raises(CompileError, match=r"wider: .* knots"):
        base_config(net.graph(), "shift", 250)
