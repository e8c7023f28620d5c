"""Work in processes of this machine: the engine that needs no other package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from ..concurrency import follow_parent
from ..errors import ElqError, Errors

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_processes(
    work: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
    """Apply a picklable callable to items.

    count (int): Number of processes, which share the cores; with 1, this process works alone.
    YIELDS (Result): The results, in the order of the items.
    RAISES (ElqError): If a process was killed; and what `work` raises.
    """
    if count == 1:
        yield from map(work, items)
        return
    # Forked processes would inherit torch's threads in an undefined state.
    with ProcessPoolExecutor(count, get_context("spawn"), _begin, (count,)) as pool:
        try:
            yield from pool.map(work, items)
        except BrokenProcessPool:
            raise ElqError(Errors.ELQ433) from None


def _begin(count: int) -> None:
    import torch

    follow_parent()
    torch.set_num_threads(max(1, torch.get_num_threads() // count))
