"""Choose an index by the number of the vectors, their width and the allowed memory.

Measured on real sentence vectors: one bit per dimension (RaBitQ), with exact scores for the best
100, finds as much as eight bits per dimension, in an eighth of the memory. Graphs (HNSW) take many
times as long to build and find no more.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ...errors import ElqError, Errors
from ..files.manifest import EXACT

# Comparing a query with each of this many vectors takes a few milliseconds.
EXACT_UP_TO = 50_000
# Bytes per vector besides its code: its number, and the factors that correct RaBitQ's estimate.
ID_BYTES, FACTOR_BYTES = 8, 8
FLOAT_BYTES = 4
MIN_LISTS, MAX_LISTS = 64, 1 << 15
GB = 1 << 30
# The largest number before a unit.
MOST = 1e12
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": GB, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?")


@dataclass(frozen=True)
class IndexPlan:
    """A candidate for the index.

    spec (str): "exact" or a FAISS factory string.
    size (int): Estimated bytes in memory; 0 if it does not matter.
    reason (str): Why it is a candidate, for the user.
    """

    spec: str
    size: int
    reason: str


def parse_size(text: str) -> int:
    """RETURNS (int): The bytes that a text such as "800MB" or "2GB" stands for; units are powers of
    1024."""
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None or not 0 < float(match[1]) <= MOST:
        raise ElqError(Errors.ELQ236.format(value=text))
    return int(float(match[1]) * _UNITS[match[2]])


def index_plans(vectors: int, width: int, item_bytes: int, max_ram: int) -> list[IndexPlan]:
    """The indexes to try, in order; the first that reaches the recall is taken.

    item_bytes (int): Bytes of one stored number.
    max_ram (int): Maximum bytes of an index, because searches are slow unless it is in memory.
        Exact search needs all vectors in memory.
    RETURNS (list[IndexPlan]): At least one.
    RAISES (ElqError): If even the smallest index is too large.
    """
    if vectors <= EXACT_UP_TO:
        return [IndexPlan(EXACT, 0, f"{vectors:,} vectors are few enough to compare with each")]
    number = number_of_lists(vectors)
    centres = FLOAT_BYTES * number * width
    bits = -(-width // 8)
    small = vectors * (bits + FACTOR_BYTES + ID_BYTES) + centres + FLOAT_BYTES * width**2
    large = vectors * (width + ID_BYTES) + centres
    found = [
        IndexPlan(f"RR{width},IVF{number},RaBitQ", small, "one bit per dimension"),
        IndexPlan(f"IVF{number},SQ8", large, "eight bits per dimension, as one finds too little"),
        IndexPlan(EXACT, vectors * width * item_bytes, "no index finds enough"),
    ]
    if small > max_ram:
        raise ElqError(
            Errors.ELQ227.format(vectors=f"{vectors:,}", needed=small / GB, given=max_ram / GB)
        )
    return [plan for plan in found if plan.size <= max_ram]


def number_of_lists(vectors: int) -> int:
    """RETURNS (int): The number of lists to divide vectors into: the power of two closest to twice
    the square root of their number, which balances the comparisons with list centres and those with
    vectors."""
    number = 1 << round(math.log2(2 * vectors**0.5))
    return max(MIN_LISTS, min(MAX_LISTS, number))
