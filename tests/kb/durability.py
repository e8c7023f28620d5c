"""Checks of what live changes promise: random operations, kills, shared memory.

`run_operations` compares every answer with a plain in-memory model. `kill_writers` and
`kill_builds` end processes by SIGKILL while they add, compact and build, and check what is left;
`kill_embedding` compares it with an undisturbed build, byte for byte.
`share_memory` measures the memory of processes that have one knowledge base open. Each returns its
counts and raises an AssertionError at the first difference. Linux only.

`test_durability.py` runs these for seconds, `benchmarks/durability.py` for as long as you like.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from spacy.vocab import Vocab

from spacy_elq.kb.build import VectorSource, build_kb
from spacy_elq.kb.build.parts import Part, build_part, merged_parts
from spacy_elq.kb.check import check_files
from spacy_elq.kb.files.names import fold
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.types import Entity

WIDTH = 8
WORDS = ("north", "lake", "Ada", "king", "Saint", "river", "old", "Mara")


class IntegerEncoder:
    """Vectors of small integers: scores are exact, and many are equal, so order is tested too."""

    fingerprint = "whole-numbers"
    normalized = False

    def __init__(self, width: int = WIDTH) -> None:
        self.width = width

    def encode(self, entities: Sequence[Entity]) -> tuple[np.ndarray, np.ndarray]:
        pairs = [(i, name) for i, entity in enumerate(entities) for name in entity.names]
        vectors = np.stack([self.vector(entities[i].id, name) for i, name in pairs])
        return vectors, np.array([i for i, _ in pairs])

    def vector(self, id_: str, name: str) -> np.ndarray:
        rng = np.random.default_rng(list(f"{id_} {name}".encode()))
        return rng.integers(-3, 4, self.width).astype("f4")


class PlainModel:
    """What a knowledge base should answer, from a dictionary and loops over all of it."""

    def __init__(self, entities: Sequence[Entity]) -> None:
        self.encoder = IntegerEncoder()
        self.entities: dict[str, Entity] = {}
        self.vectors: dict[str, np.ndarray] = {}
        self.add(entities)

    def add(self, entities: Sequence[Entity]) -> None:
        for entity in entities:
            self.remove([entity.id])
            self.entities[entity.id] = entity
            self.vectors[entity.id] = self.encoder.encode([entity])[0]

    def remove(self, ids: Sequence[str]) -> None:
        for id_ in ids:
            self.entities.pop(id_, None)
            self.vectors.pop(id_, None)

    def search(self, query: np.ndarray, k: int) -> list[tuple[str, float]]:
        scored = [(float((v @ query).max()), id_) for id_, v in self.vectors.items()]
        scored.sort(key=lambda pair: -pair[0])  # stable: equal scores in the order of rows
        return [(id_, score) for score, id_ in scored[:k]]

    def named(self, name: str) -> list[str]:
        return [e.id for e in self.entities.values() if fold(name) in map(fold, e.names)]


def random_entity(rng: random.Random, ids: int) -> Entity:
    """RETURNS (Entity): An entity with one of `ids` ids and a random title and aliases."""
    title, *aliases = (" ".join(rng.sample(WORDS, 2)) for _ in range(rng.randint(1, 3)))
    id_ = f"Q{rng.randrange(ids)}"
    return Entity(id_, title, f"{id_} {rng.random()}", tuple(aliases), rng.choice(("", "place")))


def distinct(entities: Sequence[Entity]) -> list[Entity]:
    """RETURNS (list[Entity]): The last entity of each id."""
    return list({entity.id: entity for entity in entities}.values())


def build(path: Path, entities: Sequence[Entity]) -> None:
    """Build a knowledge base of these entities."""
    build_kb(entities, path, IntegerEncoder(), progress=False)


def same(kb: FaissKB, model: PlainModel) -> bool:
    """RETURNS (bool): Whether both hold the same entities, in the same order."""
    return list(kb) == list(model.entities.values()) and len(kb) == len(model.entities)


# Random operations


def run_operations(directory: Path, operations: int, seed: int = 0, ids: int = 300) -> Counter[str]:
    """Run random operations on three open knowledge bases of one directory, compare the answers
    with a plain model.

    RETURNS (Counter): The number of operations of each kind.
    """
    rng = random.Random(seed)
    path = directory / "kb"
    start = distinct([random_entity(rng, ids) for _ in range(ids // 2)])
    build(path, start)
    model, done = PlainModel(start), Counter()
    kbs = [FaissKB.open(path, Vocab()) for _ in range(3)]
    kinds = {"add": 30, "update": 15, "remove": 20, "search": 30, "name": 10, "reopen": 1}
    weights = [*kinds.values(), 0.4]
    for _ in range(operations):
        (kind,) = rng.choices([*kinds, "compact"], weights)
        done[kind] += 1
        _operate(kind, kbs, model, rng, ids)
        if kind in ("reopen", "compact"):
            for kb in kbs:
                kb.refresh()
                assert same(kb, model), f"after {dict(done)} the entities differ"
    check_files(FaissKB.open(path, Vocab()))
    return done


def _operate(
    kind: str, kbs: list[FaissKB], model: PlainModel, rng: random.Random, ids: int
) -> None:
    place = rng.randrange(3)
    kb = kbs[place]
    if kind == "reopen":
        path = kb.path
        kbs[place] = FaissKB.open(path or "", Vocab())
    elif kind == "compact":
        kb.compact(progress=False)
    elif kind in ("add", "update"):
        entities = distinct([random_entity(rng, ids) for _ in range(rng.choice((1, 1, 1, 5)))])
        if kind == "update" and model.entities:
            entities = [Entity(rng.choice([*model.entities]), "renamed", str(rng.random()))]
        kb.add(entities, *model.encoder.encode(entities))
        model.add(entities)
    elif kind == "remove":
        chosen = rng.sample([*model.entities], min(len(model.entities), rng.choice((1, 1, 3))))
        kb.remove(chosen)
        model.remove(chosen)
    else:
        kb.refresh()
        _compare(kind, kb, model, rng)


def _compare(kind: str, kb: FaissKB, model: PlainModel, rng: random.Random) -> None:
    if kind == "name":
        name = " ".join(rng.sample(WORDS, 2))
        found = [entity.id for entity in kb.named(name)]
        assert found == model.named(name), f"the entities named {name!r} are {found}"
        return
    query = np.array([rng.randint(-3, 3) for _ in range(WIDTH)], "f4")
    k = rng.randint(1, 12)
    rows, scores = (part[0].tolist() for part in kb.search(query[None], k))
    rows = [row for row in rows if row >= 0]
    ids = [entity.id for entity in kb.records(rows)]
    found = list(zip(ids, scores, strict=False))
    assert found == model.search(query, k), f"the {k} nearest are {found}"


# Kills


def plan(seed: int, ids: int = 60) -> Iterator[tuple[str, list[Entity]]]:
    """YIELDS (tuple): The writer's next step: "add", "remove" or "compact", and its entities."""
    rng = random.Random(seed)
    while True:
        kind = rng.choices(("add", "remove", "compact"), (6, 3, 1))[0]
        some = distinct([random_entity(rng, ids) for _ in range(rng.choice((1, 2, 40)))])
        yield kind, [] if kind == "compact" else some


def step(kb: FaissKB | PlainModel, kind: str, entities: list[Entity]) -> None:
    """Apply one step of a plan to a knowledge base or to a model."""
    if kind == "add" and isinstance(kb, PlainModel):
        kb.add(entities)
    elif kind == "add" and isinstance(kb, FaissKB):
        kb.add(entities, *IntegerEncoder().encode(entities))
    elif kind == "remove" and isinstance(kb, PlainModel):
        kb.remove([entity.id for entity in entities])
    elif kind == "remove" and isinstance(kb, FaissKB):
        known = [entity.id for entity in entities if kb.row(entity.id) is not None]
        kb.remove(known)
    elif isinstance(kb, FaissKB):
        kb.compact(progress=False)


def kill_writers(directory: Path, kills: int, seed: int = 0) -> Counter[str]:
    """Kill a process that adds, removes and compacts; compare the knowledge base with the changes
    that it had acknowledged, and check the files.

    RETURNS (Counter): How often the interrupted step was "done" and how often "not done", and the
        number of changes "acknowledged".
    """
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    path = directory / "kb"
    start = distinct([random_entity(rng, 60) for _ in range(40)])
    build(path, start)
    model = PlainModel(start)
    for n in range(kills):
        acknowledged = _run_and_kill(
            lambda acknowledge, n=n: _write(path, n, acknowledge),
            rng.randrange(30),
            rng.random() / 20,
        )
        todo = plan(n)
        for _ in range(acknowledged):
            step(model, *next(todo))
        kb = FaissKB.open(path, Vocab())
        found["acknowledged"] += acknowledged
        if same(kb, model):
            found["not done"] += 1
        else:  # the interrupted step is on disk, but was not acknowledged yet
            step(model, *next(todo))
            assert same(kb, model), f"kill {n}: the entities are not those that were acknowledged"
            found["done"] += 1
        kb.tidy()
        check_files(FaissKB.open(path, Vocab()))
        left = sorted(item.name for item in path.iterdir() if item.name.startswith("generation-"))
        assert len(left) <= 1, f"kill {n}: old generations are left: {left}"
    assert found["acknowledged"] > 0, "no change was acknowledged"
    return found


def _write(path: Path, seed: int, acknowledge: Callable[[], None]) -> None:
    kb = FaissKB.open(path, Vocab())
    for kind, entities in plan(seed):
        step(kb, kind, entities)
        acknowledge()


def kill_builds(directory: Path, kills: int, seed: int = 0) -> Counter[str]:
    """Kill processes that build: they must leave a complete knowledge base or none, and the next
    build must succeed.

    RETURNS (Counter): How often there was "none yet", and how often it was "complete".
    """
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    entities = [Entity(f"Q{i}", " ".join(rng.sample(WORDS, 2)), str(i)) for i in range(400)]
    path = directory / "built"
    for n in range(kills):
        _run_and_kill(
            lambda acknowledge: _build(path, entities, acknowledge),
            rng.randrange(30),
            rng.random() / 50,
        )
        found["complete" if path.exists() else "none yet"] += 1
        if not path.exists() and rng.random() < 0.5:
            continue  # the next build resumes, and is killed too
        if not path.exists():
            _build(path, entities)
        kb = FaissKB.open(path, Vocab())
        assert list(kb) == entities, f"kill {n}: other entities than were built"
        vectors, _ = kb.vector_matrix()
        assert (vectors == IntegerEncoder().encode(entities)[0]).all(), (
            f"kill {n}: other vectors than were built"
        )
        check_files(kb)
        shutil.rmtree(path)
    return found


def _build(
    path: Path, entities: Sequence[Entity], acknowledge: Callable[[], None] = lambda: None
) -> None:
    class Encoder(IntegerEncoder):
        def encode(self, entities: Sequence[Entity]) -> tuple[np.ndarray, np.ndarray]:
            acknowledge()
            return super().encode(entities)

    build_kb(entities, path, Encoder(), batch_size=16, progress=False)


class BatchDependent(IntegerEncoder):
    """Vectors that show what they were made with, as the last bits of floating-point ones do."""

    entities_at_once = 16

    def encode(self, entities: Sequence[Entity]) -> tuple[np.ndarray, np.ndarray]:
        vectors, owners = super().encode(entities)
        vectors[:, 0] = sum(map(len, (entity.description for entity in entities)))
        return vectors, owners

    def count_vectors(self, entity: Entity) -> int:
        return len(entity.names)


def kill_embedding(
    directory: Path, kills: int, seed: int = 0, encoder: Any = None, count: int = 400
) -> Counter[str]:
    """Kill processes that embed, undivided and in two parts. What the last one leaves must be the
    files of an undisturbed build, to the last bit, and no batch but the one in progress is lost.

    encoder (EncodesEntities): By default one whose vectors differ if batches do.
    RETURNS (Counter): How many processes were killed, how many batches were made, and how many of
        them more than once.
    """
    rng, found = random.Random(seed), Counter[str]()
    encoder = encoder or BatchDependent()
    entities = [
        Entity(f"Q{i}", " ".join(rng.sample(WORDS, 2)), "long " * rng.randrange(20))
        for i in range(count)
    ]
    build_kb(entities, directory / "whole", encoder, progress=False)
    whole, path = _contents(directory / "whole"), directory / "kb"
    batches = -(-count // encoder.entities_at_once)
    while found["killed"] < kills:
        parts = rng.choice(([""], ["1/2", "2/2"]))
        made = killed = 0
        for part in parts:
            for last in [False] * rng.randint(1, 5) + [True]:
                work = partial(_embed, path, entities, encoder, part)
                when = (1 << 30, 0.0) if last else (rng.randrange(batches), rng.random() / 20)
                made += _run_and_kill(work, *when)
                killed += not _is_finished(path, part)
        if parts != [""]:
            build_kb(entities, path, merged_parts(path), progress=False)
        assert _contents(path) == whole, f"kill {found['killed']}: other bytes"
        assert made - batches <= killed, f"{made} batches for {batches}, {killed} kills"
        found.update(killed=killed, batches=batches, again=made - batches)
        for item in directory.glob("kb*"):
            shutil.rmtree(item)
    return found


def _embed(
    path: Path,
    entities: Sequence[Entity],
    encoder: Any,
    part: str,
    acknowledge: Callable[[], None],
) -> None:
    source = VectorSource.from_encoder(encoder)

    def batch(entities: Sequence[Entity], first: int) -> tuple[np.ndarray, np.ndarray]:
        acknowledge()
        return encoder.encode(entities)

    source = replace(source, batch=batch)
    if part:
        build_part(entities, path, source, part, progress=False)
    elif not path.exists():
        build_kb(entities, path, source, progress=False)


def _is_finished(path: Path, part: str) -> bool:
    if not part:
        return path.exists()
    found = Part.read(Part.parse(part).directory(path))
    return found is not None and bool(found.files)


def _contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name != "manifest.json"}


def _run_and_kill(
    work: Callable[[Callable[[], None]], None], acknowledgements: int, seconds: float
) -> int:
    """Run in a forked process, and kill it some seconds after it has acknowledged so many steps.

    RETURNS (int): The number of acknowledged steps.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reader)
            work(lambda: os.write(writer, b"."))  # type: ignore[arg-type, return-value]
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        count = len(pipe.read(acknowledgements))
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL), "the process failed"
        return count + len(pipe.read())


# Memory


def share_memory(
    directory: Path, entities: int, readers: int, width: int = 384, added: int = 1000
) -> dict[str, float]:
    """Let readers search all vectors of one knowledge base while a writer adds and compacts.

    RETURNS (dict): MB of the vectors, and of all readers together: "rss" counts shared pages in
        every process, "pss" once; "files rss" and "files pss" count mapped files only.
    """
    path = directory / "large"
    encoder = _RandomVectors(width)
    records = (Entity(f"Q{i}", f"Title {i}") for i in range(entities))
    build_kb(records, path, encoder, progress=False)
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(readers)]
    processes = [context.Process(target=_read, args=(path, end)) for _, end in pipes]
    for process, (_, end) in zip(processes, pipes, strict=True):
        process.start()
        end.close()  # when a reader fails, what is expected of it is an EOFError
    ours = [connection for connection, _ in pipes]
    _all_said(ours)  # each has read all vectors once
    writer = FaissKB.open(path, Vocab())
    extra = [Entity(f"N{i}", f"New {i}") for i in range(added)]
    for new in extra:
        writer.add([new], *encoder.encode([new]))
    writer.compact(progress=False)
    _go_on(ours)
    _all_said(ours)  # each has the new files mapped
    _go_on(ours)
    sizes = _all_said(ours)
    _go_on(ours)
    for process in processes:
        process.join()
    seen = {size.pop("entities") for size in sizes}
    assert seen == {entities + len(extra)}, f"the readers see {seen} entities"
    total = {"vectors": entities * width * 4 / 1e6}
    for name in sizes[0]:
        total[name] = sum(size[name] for size in sizes)
    return total


class _RandomVectors(IntegerEncoder):
    def encode(self, entities: Sequence[Entity]) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(len(entities))
        vectors = rng.standard_normal((len(entities), self.width), dtype="f4")
        return vectors, np.arange(len(entities))


def _all_said(readers: Sequence[Connection]) -> list[Any]:
    return [reader.recv() for reader in readers]


def _go_on(readers: Sequence[Connection]) -> None:
    for reader in readers:
        reader.send(None)


def _read(path: Path, parent: Connection) -> None:
    kb = FaissKB.open(path, Vocab())
    query = np.ones((1, kb.entity_vector_length), "f4")
    kb.search(query, 10)
    parent.send(len(kb))
    while not parent.poll(0.05):
        kb.refresh()
        kb.search(query, 10)
    parent.recv()
    kb.refresh()
    kb.search(query, 10)
    parent.send("mapped")
    parent.recv()
    parent.send({**memory_of(path), "entities": len(kb)})
    parent.recv()


def memory_of(path: Path) -> dict[str, float]:
    """RETURNS (dict): MB of this process's Rss and Pss, in all and for files in `path`."""
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="utf8").splitlines()
    found = {"rss": 0.0, "pss": 0.0, "files rss": 0.0, "files pss": 0.0}
    for line in rollup:
        _count(found, "", line)
    inside = False
    for line in Path("/proc/self/smaps").read_text(encoding="utf8").splitlines():
        if not line.split(":")[0].isidentifier():  # the header of a mapping: addresses and a path
            inside = str(path) in line if "-" in line.split(" ")[0] else inside
        elif inside:
            _count(found, "files ", line)
    return found


def _count(found: dict[str, float], prefix: str, line: str) -> None:
    name, _, rest = line.partition(":")
    if name in ("Rss", "Pss"):
        found[prefix + name.lower()] += int(rest.split()[0]) / 1e3
