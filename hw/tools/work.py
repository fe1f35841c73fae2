"""Work that is cut into pieces, which run one after the other, in processes, or elsewhere."""

import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, Self, TypeVar

from hw.tools.process import ToolError

__all__ = ["HereWork", "ProcessWork", "Work"]

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")


class Work(ABC, Generic[_Piece, _Result]):
    """A function that is computed for many pieces. Use it in a ``with`` statement.

    The function gets what all pieces share, and a piece. Its result depends on nothing else: not on
    where the piece runs, nor on what ran there before. So a piece that was lost runs again, and all
    results are the same for any number of workers. The function has a name in its module: other
    processes find it by that name.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Ends the work. Pieces that have not begun are not computed."""

    @abstractmethod
    def as_they_come(self, pieces: Iterable[_Piece]) -> Iterator[tuple[int, _Result]]:
        """Numbers of the pieces with their results, in the order in which they are done.

        Raises what the function raises, and :exc:`NbqnnError` where a piece cannot be computed.
        """

    def results(
        self, pieces: Iterable[_Piece], arrived: Callable[[int, _Result], None] | None = None
    ) -> Iterator[_Result]:
        """The results in the order of the pieces.

        ``arrived`` is called with each number and result at once, in the caller's thread.
        """
        early: dict[int, _Result] = {}
        following = 0
        for number, result in self.as_they_come(pieces):
            if arrived is not None:
                arrived(number, result)
            early[number] = result
            while following in early:
                yield early.pop(following)
                following += 1


class HereWork(Work[_Piece, _Result]):
    """One piece after the other, in this process."""

    def __init__(self, function: Callable[[Any, _Piece], _Result], shared: Any):
        self._function = function
        self._shared = shared

    def as_they_come(self, pieces: Iterable[_Piece]) -> Iterator[tuple[int, _Result]]:
        for number, piece in enumerate(pieces):
            yield number, self._function(self._shared, piece)


class ProcessWork(Work[_Piece, _Result]):
    """As many pieces at a time as this machine has cores, each in a process of its own.

    Parameters
    ----------
    function : callable
    shared : object
        Sent once to every process.
    processes : int, optional
        Default: one for each core.
    """

    def __init__(
        self,
        function: Callable[[Any, _Piece], _Result],
        shared: Any,
        processes: int | None = None,
    ):
        # Spawned: a fork of a process with threads may never come back.
        self._pool = ProcessPoolExecutor(
            processes or os.cpu_count() or 1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(function, shared),
        )

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def as_they_come(self, pieces: Iterable[_Piece]) -> Iterator[tuple[int, _Result]]:
        numbers = {
            self._pool.submit(_compute, piece): number for number, piece in enumerate(pieces)
        }
        try:
            for future in as_completed(numbers):
                yield numbers[future], future.result()
        except BrokenProcessPool:
            raise ToolError(
                "A process that computes was ended from outside, maybe for want of memory"
            ) from None
        finally:
            for future in numbers:
                future.cancel()


_function: Callable[[Any, Any], Any]
_shared: Any


def _begin(function: Callable[[Any, Any], Any], shared: Any) -> None:
    global _function, _shared
    # An interrupt from the keyboard goes to all processes; the parent process ends the others. A
    # parent that was killed cannot, and they would wait for work for ever.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _function, _shared = function, shared


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _compute(piece: Any) -> Any:
    return _function(_shared, piece)
