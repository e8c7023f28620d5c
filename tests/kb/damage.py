"""Every file of a knowledge base, damaged in every way: what may come of it.

A damaged directory is opened in a process of its own, which may be killed by what it reads. Allowed
are an error with a code, the answers from before, and other answers if `check_files` finds the
damage. Linux only.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from spacy.vocab import Vocab

from spacy_elq.errors import ElqError
from spacy_elq.kb.build import build_kb
from spacy_elq.kb.check import check_files
from spacy_elq.kb.knowledge_base import FaissKB

from .helpers import ENTITIES, WIDTH, HashEncoder, change

SECONDS = 30
# The manifest has no checksum: its search settings may be changed to others that are possible.
ALLOWED = (": error", ": same", ": found by the check", "manifest.json, flipped: other answers")
Mutation = Callable[[bytes], bytes | None]


def build(path: Path, index: str) -> None:
    """Build a knowledge base of tens of entities with live changes."""
    build_kb(ENTITIES, path, HashEncoder(), index=index, progress=False)
    change(FaissKB.open(path, Vocab()), HashEncoder())


def answers(path: Path) -> Any:
    """RETURNS (Any): What a pipeline asks of a knowledge base, as plain values."""
    kb = FaissKB.open(path, Vocab())
    queries = np.random.default_rng(5).standard_normal((6, WIDTH)).astype("f4")
    found = kb.search(queries, 7)
    kb.restrict(types=["city"])
    cities = kb.search(queries, 3).rows.tolist()
    kb.restrict()
    names = [[e.id for e in kb.named(name)] for name in ("Paris", "Alexander", "It 1", "Nouméa")]
    popularity = repr(kb.popularity(kb.view.live_rows()).tolist())  # NaN equals itself in it
    return list(kb), found.rows.tolist(), found.scores.tolist(), cities, names, popularity, len(kb)


def mutations(size: int, flips: int, rng: random.Random) -> Iterator[tuple[str, Mutation]]:
    """YIELDS (tuple): The kind of a damage, and a function that does it; None removes the file."""
    yield "removed", lambda data: None
    for kept in {0, 1, 100, size // 2, size - 1, *(rng.randrange(size or 1) for _ in range(4))}:
        yield "cut", lambda data, kept=kept: data[:kept]
    yield "zeros", lambda data: bytes(len(data))
    for _ in range(4):
        at = rng.randrange(size or 1)
        yield "zeros", lambda data, at=at: data[:at] + bytes(len(data[at:]))
    for more in (b"\0", b"x" * 5000):
        yield "extended", lambda data, more=more: data + more
    heads = [rng.randrange(min(256, size or 1)) for _ in range(flips // 2)]
    for at in [*heads, *(rng.randrange(size or 1) for _ in range(flips // 2))]:
        bit = 1 << rng.randrange(8)
        yield "flipped", lambda data, at=at, bit=bit: _flip(data, at, bit)


def _flip(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :] if data else b"\1"


def try_damage(directory: Path, index: str, flips: int, seed: int = 0) -> Counter[str]:
    """Damage each file of a knowledge base, one at a time.

    RETURNS (Counter): How often each outcome followed each kind of damage of each file.
    """
    rng, found = random.Random(seed), Counter[str]()
    whole, damaged = directory / "whole", directory / "damaged"
    build(whole, index)
    before = answers(whole)
    names = sorted(path.name for path in whole.iterdir())
    for name in names:
        data = (whole / name).read_bytes()
        swaps = [("swapped", lambda _, o=o: (whole / o).read_bytes()) for o in names if o != name]
        for kind, mutate in [*mutations(len(data), flips, rng), *swaps]:
            shutil.rmtree(damaged, ignore_errors=True)
            shutil.copytree(whole, damaged)
            changed = mutate(data)
            (damaged / name).unlink()
            if changed is not None:
                (damaged / name).write_bytes(changed)
            found[f"{name}, {kind}: {_outcome(damaged, before)}"] += 1
    return found


def _outcome(path: Path, before: Any) -> str:
    """RETURNS (str): What came of opening a directory in a forked process."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            signal.alarm(SECONDS)
            os.write(writer, _ask(path, before).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return said or f"the process ended with {os.waitstatus_to_exitcode(status)}"


def _ask(path: Path, before: Any) -> str:
    try:
        what = "error"
        if answers(path) == before:
            return "same"
        what = "found by the check"
        check_files(FaissKB.open(path, Vocab()))
    except ElqError as err:
        return what if str(err).startswith("[ELQ") else f"no code: {err}"
    except BaseException as err:
        return f"{type(err).__name__}: {err}"
    return "other answers"
