"""Make forked processes work, such as those of `nlp.pipe(n_process=2)` on Linux."""

from __future__ import annotations

import os
import sys
from functools import cache
from threading import Lock


@cache
def single_thread_after_fork() -> None:
    """Let torch and FAISS use a single thread in processes forked from now on. A fork does not copy
    the other threads of their pools, and they would wait for these forever."""
    if hasattr(os, "register_at_fork"):  # Windows has no fork
        os.register_at_fork(after_in_child=_use_one_thread)


def fork_safe(lock: Lock) -> Lock:
    """Prevent forks while the lock is held: in the child, no thread would release it.

    RETURNS (Lock): The same lock.
    """
    if hasattr(os, "register_at_fork"):
        release = lock.release
        os.register_at_fork(before=lock.acquire, after_in_parent=release, after_in_child=release)
    return lock


def _use_one_thread() -> None:
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    if faiss := sys.modules.get("faiss"):
        faiss.omp_set_num_threads(1)
