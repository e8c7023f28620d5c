"""How long a search takes in Milvus and in files, for the same vectors, and that both agree.

    pip install -e ".[milvus]"
    python benchmarks/milvus_latency.py [--uri http://host:19530] [--entities 10000] [--width 384]

Without a URI, a file of Milvus Lite in a temporary directory is measured.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from spacy.vocab import Vocab

from spacy_elq.kb.build import VectorSource, build_kb
from spacy_elq.kb.files.manifest import EXACT
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.types import Entity

K = 10
RUNS = 30


def build(directory: Path, index: str, vectors: np.ndarray) -> tuple[FaissKB, float]:
    """RETURNS (tuple[FaissKB, float]): A knowledge base, and the seconds that its build took."""
    start = time.perf_counter()
    build_kb(
        (Entity(f"Q{i}", f"Thing {i}") for i in range(len(vectors))),
        directory,
        VectorSource.from_matrix(vectors, "benchmark"),
        index=index,
        progress=False,
    )
    return FaissKB.open(directory, Vocab()), time.perf_counter() - start


def median_ms(call: Callable[[], object]) -> float:
    """RETURNS (float): Milliseconds of a call, the median of some after a first."""
    call()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def measure(files: FaissKB, remote: FaissKB, queries: np.ndarray, what: str) -> None:
    """Print a line about these queries; fail if the answers differ."""
    one, other = files.search(queries, K), remote.search(queries, K)
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.scores, other.scores)
    times = [median_ms(lambda kb=kb: kb.search(queries, K)) for kb in (files, remote)]
    print(f"{what:<40} files {times[0]:7.1f} ms   Milvus {times[1]:7.1f} ms")


def main() -> None:
    """Build both, search both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uri", default="")
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=384)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((given.entities, given.width)).astype("f4")
    queries = rng.standard_normal((32, given.width)).astype("f4")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        uri = given.uri or str(directory / "milvus.db")
        files, _ = build(directory / "files", EXACT, vectors)
        remote, seconds = build(directory / "remote", f"milvus:{uri}#benchmark", vectors)
        print(f"{given.entities} x {given.width}; build with Milvus: {seconds:.1f} s")
        measure(files, remote, queries[:1], "1 search")
        measure(files, remote, queries, "32 searches at once")
        for kb in (files, remote):
            kb.remove([f"Q{i}" for i in range(0, given.entities, 10)])
        measure(files, remote, queries[:1], "1 search, a tenth of them removed")
        measure(files, remote, queries, "32 at once, a tenth of them removed")


if __name__ == "__main__":
    main()
