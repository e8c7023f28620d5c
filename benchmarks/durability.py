"""What live changes promise, tested at length. Linux only.

    python benchmarks/durability.py model [--operations 100000]
    python benchmarks/durability.py kill [--kills 200]
    python benchmarks/durability.py embed [--kills 30]
    python benchmarks/durability.py memory [--entities 200000] [--readers 8]

"model" runs random operations and compares every answer with a plain in-memory model. "kill" ends
processes by SIGKILL while they add, compact and build, and checks what is left. "embed" ends them
while MiniLM embeds, undivided and in parts, and compares the bytes with those of an undisturbed
build. "memory" measures how much memory processes share that have one knowledge base open. Each
prints its counts and ends with an AssertionError at the first difference.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from spacy_elq.encoders.entity import load_entity_encoder
from tests.kb.durability import (
    kill_builds,
    kill_embedding,
    kill_writers,
    run_operations,
    share_memory,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("model", "kill", "embed", "memory"))
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--entities", type=int, default=200_000)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directory", type=Path, help="Where to work instead of the system's")
    args = parser.parse_args()
    warnings.simplefilter("error")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=args.directory) as name:
        if args.what == "model":
            print(dict(run_operations(Path(name), args.operations, args.seed)))
        elif args.what == "kill":
            builds = args.kills // 4
            print("writers:", dict(kill_writers(Path(name), args.kills - builds, args.seed)))
            print("builds: ", dict(kill_builds(Path(name), builds, args.seed)))
        elif args.what == "embed":
            os.environ["TOKENIZERS_PARALLELISM"] = "false"  # after a fork anyway
            encoder = load_entity_encoder()
            print(dict(kill_embedding(Path(name), args.kills, args.seed, encoder, 1000)))
        else:
            sizes = share_memory(Path(name), args.entities, args.readers)
            print(", ".join(f"{key}: {value:.0f} MB" for key, value in sizes.items()))
    print(f"No difference found, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
