"""Articles → entities: the first paragraph, the names by which they are linked, and how often."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .link_store import LinkStore
from .page_kinds import ARTICLE


def entities(
    pages: Iterable[tuple[int, Mapping[str, Any]]], store: LinkStore
) -> Iterator[dict[str, Any]]:
    """pages (Iterable): Row and facts of each page of a shard.
    YIELDS (dict): A line of entities JSONL for each article that is the first of its title."""
    for row, facts in pages:
        if facts["kind"] == ARTICLE:
            target = store.target(facts["title"])
            if target and target.row == row and target.entity:
                names, short = store.names(row), store.short_description(row)
                yield _entity(target.entity, facts, names, short)


def _entity(
    id_: str, facts: Mapping[str, Any], names: Mapping[str, int], short: str | None
) -> dict[str, Any]:
    title = facts["title"]
    aliases = [
        {"name": name, "count": count} for name, count in names.items() if count or name != title
    ]
    record = {
        "id": id_,
        "title": title,
        "description": facts.get("description", ""),
        "aliases": aliases,
        "type": facts.get("type", ""),
        "popularity": sum(names.values()),
        "categories": facts.get("categories", []),
        "short_description": short,
        "page": facts.get("id"),
    }
    return {name: value for name, value in record.items() if value or name == "popularity"}


def entity_columns() -> Any:
    """RETURNS (pyarrow.Schema): The same for all parts, whatever their entities have."""
    import pyarrow as pa

    texts = ("id", "title", "description", "short_description", "type")
    aliases = pa.list_(pa.struct([("name", pa.string()), ("count", pa.int64())]))
    others = {"aliases": aliases, "categories": pa.list_(pa.string())}
    numbers = dict.fromkeys(("popularity", "page"), pa.int64())
    return pa.schema({**dict.fromkeys(texts, pa.string()), **others, **numbers})
