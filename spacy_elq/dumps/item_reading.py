"""The first pass over a Wikidata dump: its lines into a store, from where an earlier run ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from .compressed import DumpFile
from .item_blocks import BROKEN, ParsedBlock, parse_block
from .item_store import ItemStore, Progress
from .items import ItemReader
from .line_blocks import LineBlock, line_blocks
from .processes import map_in_order

# Seconds of work that a killed run may lose.
COMMIT_EVERY = 5.0
# Broken lines that are named.
NAMED = 5
# Broken lines after which a file without a single good one is no dump.
GIVE_UP = 1000
# Called with a position in the dump file, and with the number of lines until there.
OnProgress = Callable[[int, int], object]


def read_items(
    dump: DumpFile, store: ItemStore, reader: ItemReader, workers: int, on_progress: OnProgress
) -> None:
    """Store what is not in the store yet. Most of a file that is no dump is not read.

    workers (int): Number of processes that parse.
    """
    progress = store.progress
    parse = partial(parse_block, reader=reader)
    committed = time.monotonic()
    for block, parsed in map_in_order(parse, line_blocks(dump, progress.offset), workers):
        store.add(parsed.items)
        _advance(progress, block, parsed)
        on_progress(block.position, progress.lines)
        if progress.not_stored.get(BROKEN, 0) >= GIVE_UP and not progress.is_dump:
            return
        if time.monotonic() - committed > COMMIT_EVERY:
            store.commit()
            committed = time.monotonic()
    if progress.is_open:
        progress.problems.append("there is no closing bracket: the end may be missing")
    progress.is_read = True
    store.commit()


def _advance(progress: Progress, block: LineBlock, parsed: ParsedBlock) -> None:
    room = max(0, NAMED - len(progress.problems))
    broken = [f"line {progress.lines + number}: {why}" for number, why in parsed.broken[:room]]
    progress.problems += broken
    if block.start == 0:
        progress.is_open = block.text.lstrip().startswith(b"[")
    if block.text.rstrip().endswith(b"]"):
        progress.is_open = False
    progress.is_dump |= bool(parsed.items.labels) or not parsed.counts.keys() <= {BROKEN}
    progress.lines += parsed.lines
    progress.offset = block.end
    progress.not_stored = dict(Counter(progress.not_stored) + parsed.counts)
    progress.snapshot = max(progress.snapshot, parsed.modified[:10])
    if block.cut:
        progress.problems.append(f"it ends early, after line {progress.lines}: {block.cut}")
