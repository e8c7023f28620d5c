"""Locks that pickles and forks survive, and what is loaded once."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from spacy_elq.concurrency import Mutex, loaded_once


def test_a_pickle_has_a_lock_of_its_own():
    mutex = Mutex()
    with mutex, mutex:
        other = pickle.loads(pickle.dumps(mutex))
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(other.acquire, blocking=False).result()
            assert not pool.submit(mutex.acquire, blocking=False).result()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_process_does_not_fork_while_another_thread_holds_a_lock():
    mutexes = [Mutex() for _ in range(3)]
    holding, released = threading.Event(), []

    def hold():
        with mutexes[1], mutexes[0]:  # in another order than they were made
            holding.set()
            time.sleep(0.05)
            with mutexes[2]:
                time.sleep(0.05)
            released.append(True)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()
    child = os.fork()
    if not child:
        os._exit(0 if released and all(m.acquire(blocking=False) for m in mutexes) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()
    assert all(mutex.acquire(blocking=False) for mutex in mutexes)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_thread_may_fork_while_it_holds_a_lock_itself():
    mutex = Mutex()
    with mutex:
        child = os.fork()
        if not child:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(mutex.acquire, blocking=False).result()


def test_threads_that_need_it_at_once_load_once():
    class Thing:
        loads = 0

        @loaded_once
        def value(self):
            Thing.loads += 1
            time.sleep(0.01)
            return object()

    thing, barrier = Thing(), threading.Barrier(4)

    def get(_):
        barrier.wait()
        return thing.value

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(get, range(4)))) == 1
    assert Thing.loads == 1


KILLED = """
import os, signal, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from spacy_elq.concurrency import follow_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, get_context(sys.argv[1]), initializer=follow_parent)
    print(pool.submit(int).result(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_end_when_their_parent_is_killed(start):
    command = [sys.executable, "-c", KILLED, start]
    # Returns only when nobody has its output open.
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=120)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"0\n")
