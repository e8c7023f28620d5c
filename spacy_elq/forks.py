"""Forked processes, as of `nlp.pipe(n_process=2)` on Linux."""

from __future__ import annotations

import os
import sys
from functools import cache
from threading import Lock


@cache
def single_thread_after_fork() -> None:
    """Let torch and FAISS use one thread in processes that this one forks from now on: they would
    wait forever for the other threads of their pools, which a fork does not copy."""
    if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
        os.register_at_fork(after_in_child=_use_one_thread)


def fork_safe(lock: Lock) -> Lock:
    """Let no process be forked while a lock is held: nobody would release it there.

    RETURNS (Lock): The lock.
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
