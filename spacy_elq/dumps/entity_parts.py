"""The second pass over a Wikidata dump: from the store, the entities that are asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from .article_names import ArticleNames
from .entity_types import EntityTypes
from .item_store import ItemStore
from .items import DATES, wikis_of
from .parts import alias_column, part_path, write_part

PART_SIZE = 100_000


def write_entities(
    store: ItemStore,
    directory: Path,
    types: Sequence[str],
    languages: Sequence[str],
    format: str,
    articles: ArticleNames | None = None,
) -> None:
    """Write the parts that are not there yet.

    types (Sequence[str]): Ids or labels of classes whose instances are kept; all if empty.
    languages (Sequence[str]): Those of the names.
    format (str): Of the parts.
    articles (ArticleNames | None): Gives more names.
    """
    progress = store.progress
    chosen = _chosen(store, EntityTypes(store, types))
    if articles:
        chosen = _joined(chosen, articles, store)
    while first := next(chosen, None):
        path = part_path(directory, progress.parts, format)
        records = chain([first], islice(chosen, PART_SIZE - 1))
        write_part(path, records, partial(_columns, languages))
        progress.parts += 1
        store.commit()


def _chosen(store: ItemStore, types: EntityTypes) -> Iterator[dict[str, Any]]:
    """YIELDS (dict): The next entities that are asked for. The progress counts up to them."""
    progress = store.progress
    for progress.row, record, classes in store.entities():
        if reason := types.reason_to_drop(classes):
            progress.not_written[reason] = progress.not_written.get(reason, 0) + 1
            continue
        progress.entities += 1
        entity = json.loads(record)
        if type_ := types.type_of(classes):
            entity["type"] = type_
        yield entity


def _joined(
    entities: Iterator[dict[str, Any]], articles: ArticleNames, store: ItemStore
) -> Iterator[dict[str, Any]]:
    for entity in entities:
        store.progress.joined += articles.add_to(entity)
        yield entity


def _columns(languages: Sequence[str]) -> Any:
    """RETURNS (pyarrow.Schema): The same for all parts, whatever their entities have."""
    import pyarrow as pa

    texts = ("id", "title", "description", "type", *wikis_of(languages), *DATES.values())
    numbers = {"popularity": pa.int64(), "latitude": pa.float64(), "longitude": pa.float64()}
    return pa.schema({**dict.fromkeys(texts, pa.string()), "aliases": alias_column(), **numbers})
