"""The measures of each table of `elq evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """One measure of a table: its header, its key in the scores, its number format."""

    header: str
    key: str
    form: str = ".3f"

    def show(self, scores: Mapping[str, Any]) -> str:
        """RETURNS (str): The measure as text, "-" if it is unknown."""
        value = scores.get(self.key)
        return "-" if value is None else format(value, self.form)


# The published measures, and R@k.
LINK_COLUMNS = (
    Column("weak P", "elq_weak_p"),
    Column("R", "elq_weak_r"),
    Column("F", "elq_weak_f"),
    Column("strong P", "elq_strong_p"),
    Column("R", "elq_strong_r"),
    Column("F", "elq_strong_f"),
    Column("mention R", "elq_mention_r"),
    Column("R@1", "elq_r1"),
    Column("R@10", "elq_r10"),
    Column("topic R", "elq_topic_r"),
    Column("links/text", "elq_links_per_text", ".2f"),
)
# The key of the measure by which linkers of other knowledge bases are compared.
PEERS_F1 = "bench_peers_f"
# As benchmarks count: see `benchmark`.
BENCHMARK_COLUMNS = (
    Column("gold", "bench_gold", "d"),
    Column("P", "bench_p"),
    Column("in-KB R", "bench_r"),
    Column("F1", "bench_f"),
    Column("as peers", PEERS_F1),
    Column("names", "bench_names_f"),
    Column("mentions", "bench_mentions_f"),
    Column("right entity", "bench_entity"),
    Column("NIL R", "bench_nil_r"),
)
ERROR_COLUMNS = (
    Column("missed", "bench_missed", "d"),
    Column("wrong bounds", "bench_boundary", "d"),
    Column("ranked lower", "bench_ranking", "d"),
    Column("no candidate", "bench_no_candidate", "d"),
    Column("false: not in KB", "bench_outside", "d"),
    Column("lower-case", "bench_lower", "d"),
    Column("other", "bench_spurious", "d"),
)
