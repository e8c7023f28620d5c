"""What threads and processes share: locks, first use, torch's and FAISS's own threads; workers."""

from __future__ import annotations

import os
import signal
import sys
from functools import cached_property
from multiprocessing import parent_process
from threading import RLock, Thread
from typing import Any, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")


class Mutex(type(RLock())):  # type: ignore[misc]
    """A reentrant lock that pickles and forks survive: a pickle or a copy has a lock of its own,
    and a process does not fork while a thread holds one, which nobody would release in the child.
    """

    def __init__(self) -> None:
        _MUTEXES[id(self)] = self

    def __reduce__(self) -> tuple[type[Mutex], tuple[()]]:
        return Mutex, ()


_MUTEXES: WeakValueDictionary[int, Mutex] = WeakValueDictionary()
_held_by_fork: list[Mutex] = []

# Held while torch modules are made or loaded. transformers' `from_pretrained` replaces functions of
# torch for the whole process meanwhile: modules made by other threads would be left without data.
LOADING = Mutex()


class loaded_once(cached_property[T]):
    """A cached property that is computed by one thread of the process at a time, and once."""

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        with LOADING:
            return super().__get__(instance, owner)


def follow_parent() -> None:
    """Begin a worker process: interrupts are left to its parent, and it ends when that does. It
    would wait for work forever if its parent were killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)


def prepare_for_forks() -> None:
    """Make forked processes work, such as those of `nlp.pipe(n_process=2)` on Linux."""
    if hasattr(os, "register_at_fork"):  # Windows has no fork
        os.register_at_fork(
            before=_hold_all, after_in_parent=_release_all, after_in_child=_begin_child
        )


def _hold_all() -> None:
    """Like `std::lock` in C++: waits only while it holds none, so that no order can block it."""
    while True:
        busy = next((mutex for mutex in _mutexes() if not _hold(mutex)), None)
        if busy is None:
            return
        _release_all()
        with busy:
            pass


def _mutexes() -> list[Mutex]:
    return [mutex for reference in _MUTEXES.valuerefs() if (mutex := reference()) is not None]


def _hold(mutex: Mutex) -> bool:
    if not mutex.acquire(blocking=False):
        return False
    _held_by_fork.append(mutex)
    return True


def _release_all() -> None:
    while _held_by_fork:
        _held_by_fork.pop().release()


def _begin_child() -> None:
    """Let torch and FAISS use a single thread. A fork does not copy the other threads of their
    pools, and they would wait for these forever."""
    _release_all()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    if faiss := sys.modules.get("faiss"):
        faiss.omp_set_num_threads(1)
