"""How long a test set takes on a cluster: what a piece costs beside its work, and the schedule.

    python -m tests.benchmarks.cluster_plan CYCLES_PER_IMAGE CYCLES_PER_SECOND

The figures are of one image and of one core, as ``nbqnn simulate`` shows them.
"""

import argparse
import heapq
import time

from hw.tools.cluster import LOCAL, Cluster

__all__ = ["overhead_s", "schedule_s"]

_PIECES = 1000
#: Cycles of a piece, as in :mod:`sim.runs`.
_PIECE_CYCLES = 100_000


def nothing(shared: None, piece: int) -> int:
    """A piece without work."""
    return piece


def overhead_s(pieces: int = _PIECES) -> float:
    """Seconds from one piece to the next where they have no work, on this machine's cores."""
    with Cluster(LOCAL) as cluster, cluster.work(nothing, None) as work:
        list(work.results(range(8)))
        started = time.perf_counter()
        list(work.results(range(pieces)))
        return (time.perf_counter() - started) / pieces


def schedule_s(
    pieces: int, piece_s: float, workers: int, *, overhead: float, build_s: float, lost: int = 0
) -> float:
    """Seconds until all pieces are done.

    Each worker compiles first. The scheduler hands out one piece after the other, each taking
    ``overhead`` seconds. ``lost`` workers end half way, with a piece that then runs elsewhere.
    """
    half = pieces * piece_s / workers / 2 + build_s
    free = [(build_s, worker) for worker in range(workers)]
    heapq.heapify(free)
    waiting, handed, end = pieces, 0.0, 0.0
    while waiting:
        at, worker = heapq.heappop(free)
        handed = max(at, handed) + overhead
        done = handed + piece_s
        if worker < lost and done > half:
            continue
        waiting -= 1
        end = max(end, done)
        heapq.heappush(free, (done, worker))
    return end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cycles_per_image", type=float)
    parser.add_argument("cycles_per_second", type=float)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--build", type=float, default=0.0, help="seconds, once for each worker")
    parser.add_argument("--begin", type=float, default=0.0, help="seconds of a new accelerator")
    options = parser.parse_args()
    overhead = overhead_s()
    images = max(1, int(_PIECE_CYCLES // options.cycles_per_image))
    pieces = -(-options.images // images)
    piece_s = options.begin + images * options.cycles_per_image / options.cycles_per_second
    print(f"{1000 * overhead:.1f} ms a piece without work")
    print(f"{pieces} pieces of {images} images, {piece_s:.1f} s each")
    for workers, lost in ((2, 0), (100, 0), (100, 10)):
        seconds = schedule_s(
            pieces, piece_s, workers, overhead=overhead, build_s=options.build, lost=lost
        )
        print(f"{workers} workers, {lost} lost half way: {seconds:.0f} s = {seconds / 60:.1f} min")


if __name__ == "__main__":
    main()
