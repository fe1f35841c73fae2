"""Compiles a graph into a program."""

from dataclasses import replace

from hw.compiler.abreast import abreast
from hw.compiler.batch import batched, check_batch
from hw.compiler.divided import divided
from hw.compiler.errors import CompileError
from hw.compiler.fused import piece_of
from hw.compiler.layer import Lowered
from hw.compiler.lower import lower
from hw.compiler.placement import Crowded, Spill, Tight
from hw.compiler.schedule import Schedule
from hw.compiler.simplified import simplified
from hw.compiler.strips import Strips
from hw.compiler.taps import tapped
from hw.compiler.tiles import stream_rows
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Unit
from hw.contract.program import Program
from hw.model.cycles import estimate_cycles
from nbqnn_train.graph import Graph, validate

__all__ = ["compile_graph"]


def compile_graph(
    graph: Graph,
    config: AcceleratorConfig,
    *,
    batch: int = 1,
    traced: bool = False,
    pack: bool = True,
) -> Program:
    """The program that computes ``graph`` on an accelerator of ``config``.

    Feature maps stay on the chip where they fit. Others go through the host's memory. The layers
    that write and read them run in row tiles, and the transfers of one tile overlap with the
    computation of another. The image and the results are streamed in the same way, where only one
    layer reads or writes them. Parameters are loaded ahead of use. Where it is in doubt which maps
    pay in strips, two programs are made; the cycle model says which one is faster.

    Parameters
    ----------
    batch : int
        Images of a run. Linear layers load their weights once for all of them; the layers before
        those run image after image.
    traced : bool
        The program also stores the codes of every node, in the scratch region.
    pack : bool
        False: the program has no weights. It cannot run, but its cycles can be counted.

    Raises
    ------
    CompileError
        Something does not fit; the message names the layer, the number and the limit.
    """
    batch = check_batch(batch)
    validate(graph)
    small = simplified(graph, config)
    # Intermediate results of a node are none of the graph's.
    names = frozenset(node.name for node in graph.nodes) if traced else frozenset()
    programs: list[Program] = []
    refusals: list[CompileError] = []
    for counting in (False, True):
        strips = Strips(config, small, counting)
        try:
            programs.append(_program(small, config, strips, batch, names, pack))
        except CompileError as error:
            refusals.append(error)
        if not strips.doubted:
            break
    if not programs:
        raise refusals[0]
    best = programs[0]
    if len(programs) > 1:
        best = min(programs, key=lambda program: estimate_cycles(program).cycles)
    return replace(best, graph=graph)


def _program(
    graph: Graph,
    config: AcceleratorConfig,
    strips: Strips,
    batch: int,
    traced: frozenset[str],
    pack: bool,
) -> Program:
    """The program for a simplified graph, with what ``strips`` decides.

    traced : tensors that are stored for a trace; none without one.
    """
    copied: frozenset[str] = frozenset()
    spilled: frozenset[str] | None = None
    #: The layers for one image, and for the batch.
    single: Lowered | None = None
    lowered: Lowered | None = None
    #: Layers whose weights are shared by the images of a batch; None for as many as pay.
    most_shared: int | None = None
    narrow: frozenset[str] = frozenset()
    while True:
        if single is None:
            single = lower(graph, config, copied)
            # A trace has the codes of maps as they are.
            single = tapped(config, single if traced else abreast(config, graph, single))
        if lowered is None:
            lowered = divided(config, batched(config, graph, single, batch, most_shared))
        if spilled is None:
            spilled = _streamed(graph, config, lowered)
        try:
            cut = strips.cut(lowered)
            on_host = spilled | cut.on_host
            schedule = Schedule(graph, config, cut, on_host, narrow, traced, strips.settled)
            return schedule.run(pack)
        except Crowded as crowded:
            narrow |= crowded.roots
        except Tight as tight:
            moved = strips.tighten(lowered, tight)
            spilled |= {moved} if moved else frozenset()
            narrow = frozenset()
        except Spill as spill:
            narrow = frozenset()
            root = piece_of(spill.root)
            # A trace has the codes of whole tensors.
            names = () if traced else map(piece_of, (root, *spill.others))
            if any(name not in spilled and strips.add(lowered, name) for name in names):
                continue
            shared = sum(layer.images > 1 for layer in lowered.layers)
            if shared:
                # What these read and write is on the chip for all images.
                most_shared, lowered = shared - 1, None
                continue
            strips.drop(root)
            spilled |= {root}
            views = {name for name, view in lowered.views.items() if view.root == root}
            # A view that begins inside a word cannot be stored, so views of what goes to the host
            # are copied. Lowering takes long; nothing else that it depends on has changed.
            if not views <= copied:
                copied |= views
                single = lowered = None


def _streamed(graph: Graph, config: AcceleratorConfig, lowered: Lowered) -> frozenset[str]:
    """The inputs and the outputs that are moved tile by tile: one layer reads or writes them."""
    sources = [node.name for node in graph.input_nodes]
    outputs = {lowered.memory_of(name) for name in graph.outputs}
    roots = {view.root for view in lowered.views.values()}
    chosen = set()
    layers = [layer for layer in lowered.layers if not layer.image]
    for layer in layers:
        if layer.unit is not Unit.ARRAY or len(layer.sources) > 1:
            continue
        if stream_rows(config, layer) >= layer.out_shape[1]:
            continue
        source = layer.source
        readers = [other for other in layers if source in other.sources]
        alone = len(readers) == 1 and source not in roots
        if source in sources and alone and source not in outputs:
            chosen.add(source)
        read = any(layer.target in other.sources for other in layers)
        if layer.target in outputs and not read and layer.target not in roots:
            chosen.add(layer.target)
    return frozenset(chosen)
