"""Blocks of lines of a Wikidata dump → what is stored of their items. Runs in many processes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .item_store import StoredItems
from .items import Item, ItemReader, parse_line
from .line_blocks import LineBlock

BROKEN = "broken lines"
# Other lines than items, by their "type".
OTHERS = {"property": "properties", "lexeme": "lexemes", "mediainfo": "media"}


@dataclass
class ParsedBlock:
    """What a block holds.

    lines (int): Number of its lines.
    counts (Counter): The items that are no entities and the other values, by kind or reason.
    broken (list): Number of a line in the block, from 1, and why it can't be read.
    modified (str): When one of its items was changed last.
    """

    items: StoredItems = field(default_factory=lambda: StoredItems([], [], []))
    lines: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[int, str]] = field(default_factory=list)
    modified: str = ""

    def add(self, value: Any, reader: ItemReader) -> None:
        """Add the value of a line.

        RAISES (ValueError, TypeError, KeyError, AttributeError): If it is malformed.
        """
        if "redirect" in value:
            self.counts["redirects"] += 1
        elif value["type"] != "item":
            self.counts[OTHERS.get(value["type"], "other lines")] += 1
        else:
            self._store(reader.read(value))
            self.modified = max(self.modified, value.get("modified", ""))

    def _store(self, item: Item) -> None:
        record, classes = to_json(item.record), json.dumps(item.classes)
        if item.label:
            self.items.labels.append((item.number, item.label))
        self.items.subclasses.extend((item.number, parent) for parent in item.parents)
        if item.dropped:
            self.counts[item.dropped] += 1
        else:
            self.items.entities.append((record, classes))


def parse_block(block: LineBlock, reader: ItemReader) -> ParsedBlock:
    """RETURNS (ParsedBlock): What the lines of a block hold."""
    parsed = ParsedBlock()
    for line in block.text.splitlines():
        parsed.lines += 1
        try:
            for value in parse_line(line):
                parsed.add(value, reader)
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as err:
            parsed.counts[BROKEN] += 1
            parsed.broken.append((parsed.lines, " ".join(f"{type(err).__name__}: {err}".split())))
    return parsed


def to_json(record: Any) -> str:
    """RETURNS (str): A record as JSON.
    RAISES (ValueError): If a text has half of a surrogate pair, which can't be written."""
    text = json.dumps(record, ensure_ascii=False)
    text.encode()
    return text
