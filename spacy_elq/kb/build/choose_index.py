"""Which index a set of vectors gets: by their number, their width and the memory there is.

Measured on real sentence vectors, one bit a dimension (RaBitQ) and exact scores for the best 100
find what eight bits find, in an eighth of the memory; graphs (HNSW) take many times as long to
build and find no more.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ...errors import ElqError, Errors
from ..files.store import EXACT

# Up to so many vectors, comparing a query with each of them takes a few milliseconds.
EXACT_UP_TO = 50_000
# Bytes of a vector beside its code: its number, and what RaBitQ keeps to correct the estimate.
ID_BYTES, FACTOR_BYTES = 8, 8
FLOAT_BYTES = 4
SMALLEST_LISTS, MOST_LISTS = 64, 1 << 15
GB = 1 << 30
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": GB, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?")


@dataclass(frozen=True)
class IndexPlan:
    """An index that may be built.

    spec (str): "exact" or a FAISS factory string.
    size (int): Bytes of the index file, about; 0 for none.
    reason (str): Why this one.
    """

    spec: str
    size: int
    reason: str


def parse_size(text: str) -> int:
    """RETURNS (int): Bytes that a text such as "800MB" or "2GB" means; units are powers of 1024."""
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None or float(match[1]) <= 0:
        raise ElqError(Errors.ELQ236.format(value=text))
    return int(float(match[1]) * _UNITS[match[2]])


def index_plans(vectors: int, width: int, item_bytes: int, max_ram: int) -> list[IndexPlan]:
    """The indexes to try, the first that finds enough is the one.

    item_bytes (int): Of a stored number.
    max_ram (int): Most bytes of an index, as searches are slow where it isn't in memory. Exact
        search needs all the vectors there.
    RETURNS (list[IndexPlan]): At least one.
    RAISES (ElqError): If the smallest does not fit.
    """
    if vectors <= EXACT_UP_TO:
        return [IndexPlan(EXACT, 0, f"{vectors:,} vectors are few enough to compare with each")]
    number = number_of_lists(vectors)
    centres = FLOAT_BYTES * number * width
    bits = -(-width // 8)
    small = vectors * (bits + FACTOR_BYTES + ID_BYTES) + centres + FLOAT_BYTES * width**2
    large = vectors * (width + ID_BYTES) + centres
    found = [
        IndexPlan(f"RR{width},IVF{number},RaBitQ", small, "one bit a dimension"),
        IndexPlan(f"IVF{number},SQ8", large, "eight bits a dimension, as one finds too little"),
        IndexPlan(EXACT, vectors * width * item_bytes, "no index finds enough"),
    ]
    if small > max_ram:
        raise ElqError(
            Errors.ELQ227.format(vectors=f"{vectors:,}", needed=small / GB, given=max_ram / GB)
        )
    return [plan for plan in found if plan.size <= max_ram]


def number_of_lists(vectors: int) -> int:
    """RETURNS (int): How many lists vectors are divided into: the power of two next to twice their
    number's square root, which balances comparing with the centres and with the vectors."""
    number = 1 << round(math.log2(2 * vectors**0.5))
    return max(SMALLEST_LISTS, min(MOST_LISTS, number))
