"""The cluster that an option names, for as long as a command needs it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nbqnn_train.graph.errors import NbqnnError

if TYPE_CHECKING:
    from hw.tools.cluster import Cluster

__all__ = ["connected"]


@contextmanager
def connected(where: str | None) -> Iterator["Cluster | None"]:
    """Connects to workers and says how many there are, and where the dashboard is.

    ``where`` is "local" or the address of a scheduler; None for no cluster. Raises
    :exc:`NbqnnError` if no scheduler answers there, if one of its workers is unsuitable, or without
    the extra.
    """
    if where is None:
        yield None
        return
    # Imported here: the extra is needed with the option only.
    try:
        from hw.tools.cluster import Cluster
    except ModuleNotFoundError as error:
        raise NbqnnError(
            f"--cluster needs {error.name}, which is not installed; "
            "remedy: pip install 'nbqnn[cluster]'"
        ) from None

    with Cluster(where) as cluster:
        print(f"cluster {where}: {cluster}", file=sys.stderr, flush=True)
        yield cluster
