"""Articles with resolved links → training texts: paragraphs with gold and unknown spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

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


def mostly_missing(counts: Mapping[str, int]) -> bool:
    """RETURNS (bool): Whether most links were dropped because the dump lacks their pages."""
    links = sum(number for name, number in counts.items() if name.startswith(LINKS))
    return 2 * counts.get(f"{DROPPED} {MISSING}", 0) > links


class TextMaker:
    """Makes texts of articles.

    target (Callable): Where a title leads; None if there is no such page.
    propagate (bool): Make mentions of all occurrences of names that a page links, and of its title.
    missing (Callable | None): The id of the entity of a title without a page; if None, a link there
        is no gold mention.
    """

    def __init__(
        self,
        target: Callable[[str], Target | None],
        *,
        propagate: bool = False,
        missing: Callable[[str], str] | None = None,
    ) -> None:
        self._target, self._missing = target, missing
        self._propagate = propagate
        self.counts: Counter[str] = Counter()

    def texts_of(self, articles: Iterable[StoredArticle]) -> Iterator[dict[str, Any]]:
        """YIELDS (dict): A line of spans JSONL for each paragraph with a mention, of each article
        that is the first of its title."""
        for article in articles:
            target = self._target(article.title)
            if target and target.row == article.row and target.entity:
                for text in self._texts(article.title, target.entity, article.paragraphs):
                    self.counts["texts"] += 1
                    yield text

    def _texts(
        self, title: str, entity: str, paragraphs: Sequence[StoredParagraph]
    ) -> Iterator[dict[str, Any]]:
        resolved = [(text, [self._resolve(*link) for link in links]) for text, links in paragraphs]
        names = self._names(title, entity, resolved)
        for text, links in resolved:
            gold, unknown = self._mentions(text, links, names)
            if gold:
                yield {
                    "text": text,
                    "spans": [{"start": m.start, "end": m.end, "id": m.entity} for m in gold],
                    **_partial(text, unknown),
                    "page": entity,
                    "title": title,
                }

    def _resolve(self, start: int, end: int, title: str) -> Mention:
        target = self._target(title)
        entity = target.entity if target else None
        if target is None and self._missing:
            self.counts[KEPT_MISSING] += 1
            return Mention(start, end, self._missing(title))
        self.counts[LINKS if entity else f"{DROPPED} {target.kind if target else MISSING}"] += 1
        return Mention(start, end, entity or "")

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
        """RETURNS (tuple): Gold mentions, and spans that may be mentions or not."""
        repeated = without_overlaps(links, names.find(text))
        gold = [link for link in links if link.entity]
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
    return sum(char.lower() != char.upper() for char in text) * 2 < sum(map(str.isalpha, text))


def text_columns() -> Any:
    """RETURNS (pyarrow.Schema): The same for all parts, whatever their texts have."""
    import pyarrow as pa

    place = [("start", pa.int64()), ("end", pa.int64())]
    spans = pa.list_(pa.struct([*place, ("id", pa.string())]))
    partial = {UNKNOWN: pa.list_(pa.struct(place)), COMPLETE: pa.bool_()}
    texts = dict.fromkeys(("page", "title"), pa.string())
    return pa.schema({"text": pa.string(), "spans": spans, **partial, **texts})
