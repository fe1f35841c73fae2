"""Functions whose pieces tests send to other processes."""

import os
import time

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["end_worker", "refuse", "scaled", "slowly"]


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
