"""A script that builds, saves and searches a small FAISS index: `index_trial.py WIDTH SPEC`.

It prints why that fails. It imports nothing of this package, to start fast; `try_index` runs it.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

VECTORS = 600
# Bytes of address space, so that an absurd number can't use up the machine's memory.
MEMORY = 16 << 30
# What FAISS says if there are too few vectors to learn from, as may be in a small trial.
TOO_FEW = re.compile(r"[Nn]umber of training points|nx >= k|n >= k|should be at least as large")


def main(width: int, spec: str) -> None:
    _limit_memory()
    import faiss

    faiss.omp_set_num_threads(1)
    faiss.index_factory(width, spec, faiss.METRIC_INNER_PRODUCT)
    # Lists are learned from as many vectors as there are lists: one is enough here.
    _use(
        faiss.index_factory(width, re.sub(r"IVF[1-9]\d*", "IVF1", spec), faiss.METRIC_INNER_PRODUCT)
    )


def _use(index: Any) -> None:
    import faiss
    import numpy as np

    vectors = np.random.default_rng(0).standard_normal((VECTORS, index.d), dtype=np.float32)
    inner: Any = index
    while isinstance(inner, faiss.IndexPreTransform):
        inner = faiss.downcast_index(inner.index)
    if hasattr(inner, "do_polysemous_training"):
        inner.do_polysemous_training = False  # takes half a minute, even for few vectors
    try:
        index.train(vectors)
    except RuntimeError as err:
        if TOO_FEW.search(str(err)):
            return
        raise
    index.add(vectors)
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "index")
        faiss.write_index(index, path)
        faiss.read_index(path).search(vectors[:2], 10)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or hard > MEMORY:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2])
    except (RuntimeError, MemoryError, OverflowError, ValueError, TypeError, AttributeError) as err:
        print(str(err).strip() or type(err).__name__)
        sys.exit(1)
