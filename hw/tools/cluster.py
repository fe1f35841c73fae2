"""Work on a cluster of Dask: on this machine, or on all that a scheduler has.

Dask's own protocol carries functions and values as pickles between client, scheduler and workers,
which trust each other. Who can reach a scheduler can run anything on its workers, and a scheduler
can answer with anything. So connect only to a cluster that is yours; Dask's settings have TLS.
"""

import asyncio
import hashlib
import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import uuid4

import dask
from distributed import (
    CancelledError,
    Client,
    KilledWorker,
    LocalCluster,
    Security,
    as_completed,
    rpc,
)

import hw
from hw.tools.work import Work
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["LOCAL", "Cluster", "dask_setup", "sources_digest"]

#: In place of an address: workers on this machine, one for each core.
LOCAL = "local"
#: Seconds that a scheduler has to answer.
_ANSWER_S = 10
#: Pieces for each worker thread that the scheduler has at hand, and the fewest in all. The rest
#: waits here, so that the scheduler's memory does not grow with the number of pieces.
_AT_HAND = 4
_LEAST_AT_HAND = 64
#: What all pieces share may be so large before Dask warns: it is sent once.
_LARGE = "4GB"
#: All packages of this program; they lie side by side.
_PACKAGES = ("nbqnn_train", "hw", "sim", "scripts")


_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")


class Cluster:
    """A connection to workers. Use it in a ``with`` statement.

    Parameters
    ----------
    where : str
        :data:`LOCAL`, or the address of a scheduler, such as ``tcp://host:8786``.

    Raises
    ------
    NbqnnError
        The address is none, nothing answers there in time, or the scheduler or a worker does not
        have this version of this program.
    """

    def __init__(self, where: str):
        self._own: LocalCluster | None = None
        if where == LOCAL:
            # Pieces wait for memory rather than be killed: as without a cluster. Only this machine
            # can connect; the dashboard takes any free port.
            self._own = LocalCluster(
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                preload=[__name__],
                # A lost worker is no news: its pieces run elsewhere.
                silence_logs=logging.ERROR,
            )
        else:
            _check_answer(where)
        self._client = Client(self._own or where, set_as_default=False)
        try:
            self._check_sources()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Disconnects. Workers of this machine that were started for it end."""
        self._client.close()
        self._close_own()

    def __str__(self) -> str:
        """How many workers there are now, and the dashboard's address."""
        workers = len(self._client.nthreads())
        count = f"{workers} worker{'s' * (workers != 1)}"
        return f"{count}, dashboard at {self._client.dashboard_link}"

    def work(
        self, function: Callable[[Any, _Piece], _Result], shared: Any
    ) -> Work[_Piece, _Result]:
        """Work for these workers; ``shared`` is sent once."""
        return _ClusterWork(self._client, _Task(sources_digest(), function, shared))

    def _close_own(self) -> None:
        if self._own is not None:
            self._own.close()

    def _check_sources(self) -> None:
        """All that are there now. Those that come later are checked with their first piece."""
        try:
            found = {"the scheduler": self._client.run_on_scheduler(sources_digest)}
        except Exception as error:  # what an unsuitable scheduler answers with can be anything
            found = {"the scheduler": error}
        found |= self._client.run(sources_digest, on_error="return")
        for place, digest in found.items():
            if digest != sources_digest():
                raise _unsuitable(place, digest)


def _check_answer(address: str) -> None:
    """Raises :exc:`NbqnnError` unless a scheduler answers in time.

    A client would wait for ever for a stranger that takes its connection and says nothing.
    """

    async def ask() -> str:
        async with rpc(address, connection_args=Security().get_connection_args("client")) as remote:
            return (await remote.identity())["type"]

    try:
        kind = asyncio.run(asyncio.wait_for(ask(), _ANSWER_S))
        reason = f"there is a {kind.lower()}"
    except Exception as error:  # what is no scheduler can answer with anything
        kind, reason = None, _first_line(error)
    if kind != "Scheduler":
        raise NbqnnError(
            f"cluster must be {LOCAL} or the address of a scheduler that answers within "
            f"{_ANSWER_S} s, such as tcp://host:8786, not {address!r} ({reason})"
        )


def _is_news(record: logging.LogRecord) -> bool:
    """Not news: distributed cannot cancel what an interrupt kept from beginning."""
    failed = record.exc_info and isinstance(record.exc_info[1], NameError)
    return not (failed and "sync.<locals>.cancel" in record.getMessage())


logging.getLogger("tornado.application").addFilter(_is_news)


class _ClusterWork(Work[_Piece, _Result]):
    def __init__(self, client: Client, task: "_Task"):
        self._client = client
        self._name = f"{task.function.__name__.strip('_')}-{uuid4().hex}"
        # Not scattered but the result of a task: where all workers that have it are lost, the
        # scheduler sends it again.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": _LARGE}):
            self._task = client.submit(_keep, task, key=f"shared-{self._name}")

    def close(self) -> None:
        with suppress(OSError):  # a scheduler that is gone has forgotten it
            self._task.cancel(force=True)

    def as_they_come(self, pieces: Iterable[_Piece]) -> Iterator[tuple[int, _Result]]:
        left = enumerate(pieces)
        numbers = {}
        # A name for each call: the same numbers come again.
        name = f"{self._name}-{uuid4().hex}"

        def submit(count: int) -> list:
            sent = {
                self._client.submit(_compute, self._task, piece, key=(name, number)): number
                for number, piece in islice(left, count)
            }
            numbers.update(sent)
            return list(sent)

        try:
            coming = as_completed(
                submit(self._room(0)),
                loop=self._client.loop,
                with_results=True,
                raise_errors=False,
            )
            for batch in coming.batches():
                for future, result in batch:
                    number = numbers.pop(future)
                    if future.status != "finished":
                        raise self._failure(number, future)
                    yield number, result
                coming.update(submit(self._room(len(numbers))))
        finally:
            with suppress(OSError):
                self._client.cancel(list(numbers), force=True)

    def _room(self, sent: int) -> int:
        """Number of pieces that can be sent while ``sent`` are under way."""
        try:
            threads = sum(self._client.nthreads().values())
        except OSError:
            raise NbqnnError(
                "cluster must go on until the end, but its scheduler is gone"
            ) from None
        return max(0, max(_LEAST_AT_HAND, _AT_HAND * threads) - sent)

    def _failure(self, number: int, future) -> BaseException:
        try:
            error = future.exception()
        except CancelledError as cancelled:
            error = cancelled
        if isinstance(error, KilledWorker):
            # Dask counts all pieces that a worker had at hand when it ended.
            workers = error.allowed_failures + 1
            return NbqnnError(
                f"piece {number}, or one at hand with it, has ended {workers} workers, the last of "
                f"them {error.last_worker.address}, maybe for want of memory; their logs tell"
            )
        if isinstance(error, CancelledError):
            return NbqnnError(
                f"cluster must go on until the end, but has lost piece {number}: "
                f"{_first_line(error)}"
            )
        if isinstance(error, ImportError):
            return _unsuitable("a worker", error)
        return error


@dataclass(frozen=True)
class _Task:
    """What all pieces share, and the sources with which they must be computed."""

    sources: str
    function: Callable[[Any, Any], Any]
    shared: Any


def _keep(task: _Task) -> _Task:
    return task


def _compute(task: _Task, piece: Any) -> Any:
    """A piece's result. (On a worker.)"""
    if sources_digest() != task.sources:
        raise _unsuitable("a worker", sources_digest())
    return task.function(task.shared, piece)


@cache
def sources_digest() -> str:
    """Digest of all sources of this program: two places that have the same compute the same."""
    root = Path(hw.__file__).parents[1]
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for pattern in ("*.py", "*.cpp", "*.json"):
            for path in sorted((root / package).rglob(pattern)):
                digest.update(path.relative_to(root).as_posix().encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def dask_setup(worker: object) -> None:
    """Called by Dask in each worker process of this machine when it begins.

    An interrupt from the keyboard goes to all processes; the one that started them ends them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _unsuitable(place: str, found: str | BaseException) -> NbqnnError:
    what = "another one" if isinstance(found, str) else _first_line(found)
    return NbqnnError(
        f"cluster must have the same nbqnn everywhere as here, but {place} has {what}; "
        "remedy: pip install the same version there, and start it again"
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
