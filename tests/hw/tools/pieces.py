"""Small clusters, and functions whose pieces tests send to other processes."""

import os
import time

from distributed import LocalCluster

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["end_worker", "refuse", "scaled", "slowly", "small_cluster"]


def small_cluster(workers: int, threads: int = 1) -> LocalCluster:
    """A scheduler and so many worker processes, with a dashboard on any free port."""
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=threads,
        memory_limit=0,
        dashboard_address="127.0.0.1:0",
    )


def scaled(factor, piece):
    """The product."""
    return factor * piece


def slowly(seconds, piece):
    """The piece and the process that had it."""
    time.sleep(seconds)
    return piece, os.getpid()


def refuse(forbidden, piece):
    """An error of the user for one piece."""
    if piece == forbidden:
        raise NbqnnError(f"piece must not be {forbidden}")
    return piece


def end_worker(fatal, piece):
    """Ends the process at one piece."""
    if piece == fatal:
        os._exit(3)
    return piece
