"""Items of Wikidata, as the lines of its JSON dump have them → records of entities."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

loads: Callable[[bytes], Any]
try:
    from orjson import loads  # twice as fast
except ImportError:
    from json import loads

# Language of names that hold in all languages.
ANY_LANGUAGE = "mul"
INSTANCE_OF, SUBCLASS_OF, COORDINATES = "P31", "P279", "P625"
# Properties that are dates → the fields that they become.
DATES = {
    "P569": "date_of_birth",
    "P570": "date_of_death",
    "P571": "inception",
    "P576": "dissolved",
    "P577": "publication_date",
    "P580": "start_time",
    "P582": "end_time",
    "P585": "point_in_time",
}
# Wikidata's numbers of precision → how much of YYYY-MM-DD is known.
DATE_PARTS = {9: 1, 10: 2, 11: 3}
# Languages whose Wikipedia is named after another code.
WIKIS = {
    "be-tarask": "be_x_old",
    "gsw": "als",
    "lzh": "zh_classical",
    "nan": "zh_min_nan",
    "nb": "no",
    "rup": "roa_rup",
    "sgs": "bat_smg",
    "vro": "fiu_vro",
    "yue": "zh_yue",
}
ID = re.compile(r"Q[1-9][0-9]*")


@dataclass(frozen=True)
class ItemReader:
    """Makes records of entities.

    languages (tuple): Languages of names and descriptions, the preferred one first.
    min_sitelinks (int): Least number of pages about an item in Wikimedia's projects.
    """

    languages: tuple[str, ...]
    min_sitelinks: int = 0

    @cached_property
    def chain(self) -> tuple[str, ...]:
        """RETURNS (tuple): The languages in the order in which they are tried: those asked for,
        those of which they are variants, and the names of all languages."""
        general = (language.partition("-")[0] for language in self.languages)
        return tuple(dict.fromkeys((*self.languages, *general, ANY_LANGUAGE)))

    @cached_property
    def wikis(self) -> tuple[str, ...]:
        """RETURNS (tuple): The names of their Wikipedias, such as "enwiki"."""
        return wikis_of(self.languages)

    def read(self, value: Mapping[str, Any]) -> Item:
        """RETURNS (Item): An item, from its parsed JSON.
        RAISES (TypeError, KeyError, AttributeError, ValueError): If it is malformed."""
        labels = [*self._in_languages(value, "labels")]
        claims = _mapping(value, "claims")
        sitelinks = _mapping(value, "sitelinks")
        item = Item(
            number_of(value["id"]),
            labels[0] if labels else "",
            parents=tuple(_item_numbers(claims.get(SUBCLASS_OF, ()))),
            classes=tuple(_item_numbers(best(claims.get(INSTANCE_OF, ())))),
        )
        if len(sitelinks) < self.min_sitelinks:
            return item._replace(dropped="few sitelinks")
        if not labels:
            return item._replace(dropped="no label")
        return item._replace(record=self._record(value, labels, claims, sitelinks))

    def _record(
        self,
        value: Mapping[str, Any],
        labels: Sequence[str],
        claims: Mapping[str, Any],
        sitelinks: Mapping[str, Any],
    ) -> dict[str, Any]:
        aliases = dict.fromkeys((*labels, *self._aliases(value)))
        del aliases[labels[0]]
        record = {
            "id": value["id"],
            "title": labels[0],
            "description": next(self._in_languages(value, "descriptions"), ""),
            "aliases": list(aliases),
            "popularity": len(sitelinks),
            **{wiki: sitelinks[wiki]["title"] for wiki in self.wikis if wiki in sitelinks},
            **_place(claims.get(COORDINATES, ())),
            **_dates(claims),
        }
        return {name: field for name, field in record.items() if field not in ("", [])}

    def _in_languages(self, value: Mapping[str, Any], name: str) -> Iterator[str]:
        terms = _mapping(value, name)
        for language in self.chain:
            if language in terms and (text := terms[language]["value"].strip()):
                yield text

    def _aliases(self, value: Mapping[str, Any]) -> Iterator[str]:
        terms = _mapping(value, "aliases")
        for language in self.chain:
            for term in terms.get(language, ()):
                if text := term["value"].strip():
                    yield text


class Item(NamedTuple):
    """What is kept of an item: all are classes that others may be instances of.

    number (int): Of its id, 42 for Q42.
    label (str): "" if it has none in the languages.
    parents, classes (tuple): Numbers of the classes of which it is a subclass, an instance.
    dropped (str): Why it is no entity; "" if it is.
    record (dict): The entity, without its type.
    """

    number: int
    label: str
    parents: tuple[int, ...] = ()
    classes: tuple[int, ...] = ()
    dropped: str = ""
    record: Mapping[str, Any] = {}


def wikis_of(languages: Iterable[str]) -> tuple[str, ...]:
    """RETURNS (tuple): The names of the Wikipedias in some languages."""
    return tuple(dict.fromkeys(map(wiki_of, languages)))


def wiki_of(language: str) -> str:
    """RETURNS (str): The name of the Wikipedia in a language: "enwiki" for "en" and "en-gb"."""
    code = WIKIS.get(language) or WIKIS.get(general := language.partition("-")[0], general)
    return f"{code}wiki"


def number_of(id: str) -> int:
    """RETURNS (int): The number of an item's id.
    RAISES (ValueError): If it is not one."""
    if not ID.fullmatch(id):
        raise ValueError(f"{id!r} is not the id of an item")
    return int(id[1:])


def parse_line(line: bytes) -> list[Any]:
    """Parse a line of a dump: an array with one entity a line, or JSON lines.

    RETURNS (list): Its values: none for a bracket and for a blank line, usually one.
    RAISES (ValueError, RecursionError): If it is not JSON.
    """
    text = line.removeprefix(BOM_UTF8).strip().rstrip(b",")
    if text in (b"", b"[", b"]"):
        return []
    try:
        value = loads(text)
    except (ValueError, RecursionError):
        # The first and the last item may share a line with a bracket.
        bare = text.removeprefix(b"[").removesuffix(b"]").strip().rstrip(b",")
        if len(bare) == len(text):
            raise
        value = loads(bare)
    return value if isinstance(value, list) else [value]


def best(claims: Sequence[Any]) -> list[Any]:
    """RETURNS (list): The statements of a property that count: the preferred ones, or if there are
    none, all that are not deprecated; those with a value."""
    known = [claim for claim in claims if claim["mainsnak"]["snaktype"] == "value"]
    for rank in ("preferred", "normal"):
        if found := [claim for claim in known if claim["rank"] == rank]:
            return found
    return []


def _mapping(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return value.get(name) or {}  # PHP writes an empty map as []


def _value(claim: Mapping[str, Any]) -> Any:
    return claim["mainsnak"]["datavalue"]["value"]


def _item_numbers(claims: Iterable[Any]) -> Iterator[int]:
    for claim in claims:
        if claim["mainsnak"]["snaktype"] == "value" and claim["rank"] != "deprecated":
            value = _value(claim)
            # Old dumps have the number alone; a value may also be a property.
            if value["entity-type"] == "item":
                yield value["numeric-id"] if "id" not in value else number_of(value["id"])


def _place(claims: Sequence[Any]) -> dict[str, float]:
    for claim in best(claims):
        value = _value(claim)
        # Coordinates on the Moon or on Mars are none on Earth.
        if value["globe"].endswith("/Q2"):
            return {"latitude": value["latitude"], "longitude": value["longitude"]}
    return {}


def _dates(claims: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for property_id, name in DATES.items():
        for claim in best(claims.get(property_id, ())):
            if date := _date(_value(claim)):
                found[name] = date
                break
    return found


def _date(value: Mapping[str, Any]) -> str:
    """RETURNS (str): YYYY-MM-DD as far as it is known, a minus before it for BCE; "" if not even
    the year is."""
    sign, date = value["time"][0], value["time"][1:].partition("T")[0]
    parts = date.split("-")[: DATE_PARTS.get(value["precision"], 0)]
    return ("-" if sign == "-" else "") + "-".join(parts) if parts else ""
