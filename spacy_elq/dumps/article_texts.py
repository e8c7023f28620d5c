"""Articles with resolved links → training texts: paragraphs with gold and unknown spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from typing import Any, NamedTuple

from ..gold import COMPLETE, UNKNOWN
from .link_store import Target
from .mentions import Mention, Names, name_like, without_overlaps
from .page_kinds import base_title
from .shards import StoredArticle, StoredParagraph

# What links are counted as: kept, or dropped because they lead to another kind of page or to none.
LINKS, DROPPED, MISSING = "links", "links dropped:", "missing page"
# Characters of a text by which its script is told.
_SEEN = 200
KEPT_MISSING = "links to missing pages"


class _Way(NamedTuple):
    """Where links to a title lead.

    entity (str): The id of the entity there; "" if there is none.
    counted (str): What the links are counted as.
    """

    entity: str
    counted: str


def mostly_missing(counts: Mapping[str, int]) -> bool:
    """RETURNS (bool): Whether most links were dropped because the dump lacks their pages."""
    links = sum(number for name, number in counts.items() if name.startswith(LINKS))
    return 2 * counts.get(f"{DROPPED} {MISSING}", 0) > links


class TextMaker:
    """Makes texts of articles.

    targets (Callable): Where titles lead; without those that have no page.
    propagate (bool): Make mentions of all occurrences of names that a page links, and of its title.
    missing (Callable | None): The ids of the entities of titles without a page; if None, links
        there are no gold mentions.
    """

    def __init__(
        self,
        targets: Callable[[Iterable[str]], Mapping[str, Target]],
        *,
        propagate: bool = False,
        missing: Callable[[Iterable[str]], Mapping[str, str]] | None = None,
    ) -> None:
        self._targets, self._missing = targets, missing
        self._propagate = propagate
        self.counts: Counter[str] = Counter()

    def texts_of(self, articles: Iterable[StoredArticle]) -> Iterator[dict[str, Any]]:
        """YIELDS (dict): A line of spans JSONL for each paragraph with a mention, of each article
        that is the first of its title."""
        for article in articles:
            titles = {title for _, links in article.paragraphs for _, _, title in links}
            targets = self._targets({article.title, *titles})
            target = targets.get(article.title)
            if target and target.row == article.row and target.entity:
                ways = self._ways(titles, targets)
                for text in self._texts(article.title, target.entity, article.paragraphs, ways):
                    self.counts["texts"] += 1
                    yield text

    def _ways(self, titles: Set[str], targets: Mapping[str, Target]) -> dict[str, _Way]:
        """RETURNS (dict): Where links to titles lead, each title looked up once."""
        lacking = titles - targets.keys()
        if self._missing:
            ids = self._missing(lacking)
            ways = {title: _Way(ids[title], KEPT_MISSING) for title in lacking}
        else:
            ways = dict.fromkeys(lacking, _Way("", f"{DROPPED} {MISSING}"))
        for title, (_, kind, entity) in targets.items():
            ways[title] = _Way(entity, LINKS) if entity else _Way("", f"{DROPPED} {kind}")
        return ways

    def _texts(
        self,
        title: str,
        entity: str,
        paragraphs: Sequence[StoredParagraph],
        ways: Mapping[str, _Way],
    ) -> Iterator[dict[str, Any]]:
        resolved = []
        for text, links in paragraphs:
            resolved.append(
                (text, [Mention(start, end, ways[to].entity) for start, end, to in links])
            )
            self.counts.update([ways[to].counted for _, _, to in links])
        names = self._names(title, entity, resolved)
        for text, mentions in resolved:
            gold, unknown = self._mentions(text, mentions, names)
            if gold:
                yield {
                    "text": text,
                    "spans": [{"start": m.start, "end": m.end, "id": m.entity} for m in gold],
                    **_partial(text, unknown),
                    "page": entity,
                    "title": title,
                }

    def _names(
        self, title: str, entity: str, paragraphs: Sequence[tuple[str, Sequence[Mention]]]
    ) -> Names:
        """RETURNS (Names): Names of the page, for the entities that they are linked to first."""
        names = {title: entity, base_title(title): entity}
        for text, links in paragraphs:
            for link in links:
                if link.entity and len(name := text[link.start : link.end]) > 1:
                    names.setdefault(name, link.entity)
        return Names(names)

    def _mentions(
        self, text: str, links: Sequence[Mention], names: Names
    ) -> tuple[list[Mention], list[Mention]]:
        """RETURNS (tuple): Gold mentions, and if there are some, spans that may be mentions or
        not."""
        gold = [link for link in links if link.entity]
        if not (gold or self._propagate):
            return [], []
        repeated = without_overlaps(links, names.find(text))
        unknown = [link for link in links if not link.entity]
        if self._propagate:
            gold = sorted([*gold, *repeated])
            self.counts["mentions by propagation"] += len(repeated)
        else:
            unknown = sorted([*unknown, *repeated])
        return gold, sorted([*unknown, *name_like(text, [*gold, *unknown])])


def _partial(text: str, unknown: Sequence[Mention]) -> dict[str, Any]:
    """RETURNS (dict): The fields that say what is not annotated. In a script without capitals, any
    character may be part of a name."""
    fields: dict[str, Any] = {}
    if unknown:
        fields[UNKNOWN] = [{"start": m.start, "end": m.end} for m in unknown]
    if not text.isascii() and _lacks_capitals(text[:_SEEN]):
        fields[COMPLETE] = False
    return fields


def _lacks_capitals(text: str) -> bool:
    """RETURNS (bool): Whether most letters are of scripts without capitals."""
    return sum(map(_has_capital, text)) * 2 < sum(map(str.isalpha, text))


@lru_cache(maxsize=1 << 16)
def _has_capital(char: str) -> bool:
    return char.lower() != char.upper()


def text_columns() -> Any:
    """RETURNS (pyarrow.Schema): The same for all parts, whatever their texts have."""
    import pyarrow as pa

    place = [("start", pa.int64()), ("end", pa.int64())]
    spans = pa.list_(pa.struct([*place, ("id", pa.string())]))
    partial = {UNKNOWN: pa.list_(pa.struct(place)), COMPLETE: pa.bool_()}
    texts = dict.fromkeys(("page", "title"), pa.string())
    return pa.schema({"text": pa.string(), "spans": spans, **partial, **texts})
