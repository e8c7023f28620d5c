"""Small Wikidata dumps, in the form of the real ones."""

from __future__ import annotations

import json
from typing import Any


def term(text: str, language: str = "en") -> dict[str, str]:
    return {"language": language, "value": text}


def claim(value: Any, rank: str = "normal", snaktype: str = "value") -> dict[str, Any]:
    snak: dict[str, Any] = {"snaktype": snaktype}
    if snaktype == "value":
        snak["datavalue"] = {"value": value}
    return {"mainsnak": snak, "type": "statement", "rank": rank}


def item_value(number: int) -> dict[str, Any]:
    return {"entity-type": "item", "numeric-id": number, "id": f"Q{number}"}


def time(text: str, precision: int = 11) -> dict[str, Any]:
    return {"time": text, "precision": precision}


def item(
    number: int,
    label: str = "",
    *,
    classes: tuple[int, ...] = (),
    parents: tuple[int, ...] = (),
    sitelinks: dict[str, str] | None = None,
    claims: dict[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """RETURNS (dict): An item with an English label, if one is given."""
    named = {"P31": classes, "P279": parents}
    relations = {name: [*map(claim, map(item_value, ids))] for name, ids in named.items() if ids}
    sites = {site: {"site": site, "title": title} for site, title in (sitelinks or {}).items()}
    return {
        "type": "item",
        "id": f"Q{number}",
        "labels": {"en": term(label)} if label else {},
        "descriptions": {},
        "aliases": {},
        "claims": relations | (claims or {}),
        "sitelinks": sites,
    } | fields


def dump_of(values: list[Any]) -> bytes:
    """RETURNS (bytes): An array with a value on each line, as Wikidata writes it."""
    return ("[\n" + ",\n".join(json.dumps(value) for value in values) + "\n]\n").encode()
