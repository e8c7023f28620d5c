"""Work on blocks of a dump in several processes, with the results in the order of the blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from ..concurrency import follow_parent
from ..errors import ElqError, Errors

Block = TypeVar("Block")
Result = TypeVar("Result")


def map_in_order(
    work: Callable[[Block], Result], blocks: Iterable[Block], workers: int
) -> Iterator[tuple[Block, Result]]:
    """Work on blocks, two for each process at a time.

    work (Callable): Takes a block; both, and the result, must be picklable.
    workers (int): Number of processes; 1 to work in this one.
    YIELDS (tuple): Each block in turn, and its result.
    RAISES (ElqError): If a process was killed.
    """
    if workers == 1:
        yield from ((block, work(block)) for block in blocks)
        return
    pool = ProcessPoolExecutor(workers, initializer=follow_parent)
    try:
        waiting: deque[tuple[Block, Future[Result]]] = deque()
        for block in blocks:
            waiting.append((block, pool.submit(work, block)))
            if len(waiting) > 2 * workers:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    except BrokenProcessPool:
        raise ElqError(Errors.ELQ365) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _next(waiting: deque[tuple[Block, Future[Result]]]) -> tuple[Block, Result]:
    block, result = waiting.popleft()
    return block, result.result()
