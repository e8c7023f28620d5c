"""Articles → entities: the first paragraph, the names by which they are linked, and how often."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .link_store import LinkStore
from .name_use import NameUse
from .page_kinds import ARTICLE
from .parts import alias_column


def entities(
    pages: Iterable[tuple[int, Mapping[str, Any]]], store: LinkStore, use: NameUse
) -> Iterator[dict[str, Any]]:
    """pages (Iterable): Row and facts of each page of a shard.
    YIELDS (dict): A line of entities JSONL for each article that is the first of its title."""
    for row, facts in pages:
        if facts["kind"] == ARTICLE and (article := store.article(row)):
            aliases = list(_aliases(facts["title"], store.names(row), use))
            yield _entity(*article, facts, aliases)


def _aliases(title: str, names: Mapping[str, int], use: NameUse) -> Iterator[dict[str, Any]]:
    """YIELDS (dict): Each name with its count, and if it is linked, its link probability."""
    linked = [name for name, count in names.items() if count]
    probabilities = dict(zip(linked, use.probabilities(linked), strict=True))
    for name, count in names.items():
        if count:
            probability = probabilities[name]
            known = {} if probability is None else {"link_probability": probability}
            yield {"name": name, "count": count, **known}
        elif name != title:
            yield {"name": name, "count": 0}


def _entity(
    id_: str, short: str | None, facts: Mapping[str, Any], aliases: list[dict[str, Any]]
) -> dict[str, Any]:
    record = {
        "id": id_,
        "title": facts["title"],
        "description": facts.get("description", ""),
        "aliases": aliases,
        "type": facts.get("type", ""),
        "popularity": sum(alias["count"] for alias in aliases),
        "categories": facts.get("categories", []),
        "short_description": short,
        "page": facts.get("id"),
    }
    return {name: value for name, value in record.items() if value or name == "popularity"}


def entity_columns() -> Any:
    """RETURNS (pyarrow.Schema): The same for all parts, whatever their entities have."""
    import pyarrow as pa

    texts = ("id", "title", "description", "short_description", "type")
    others = {"aliases": alias_column(), "categories": pa.list_(pa.string())}
    numbers = dict.fromkeys(("popularity", "page"), pa.int64())
    return pa.schema({**dict.fromkeys(texts, pa.string()), **others, **numbers})
