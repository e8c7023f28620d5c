"""What becomes of one item of Wikidata."""

from __future__ import annotations

import json

import pytest

from spacy_elq.dumps.items import ItemReader, best, parse_line, wiki_of

from .wikidata_json import claim, item, item_value, term, time

READER = ItemReader(("en", "de"))


def record_of(*args, **fields):
    return READER.read(item(*args, **fields)).record


def test_names_of_all_languages_asked_for():
    labels = {"de": term("Wien"), "fr": term("Vienne"), "en": term("Vienna")}
    aliases = {"de": [term("Wean"), term("Vienna")], "fr": [term("Vindobone")]}
    record = record_of(1741, labels=labels, aliases=aliases)
    assert record["title"] == "Vienna"
    assert record["aliases"] == ["Wien", "Wean"]


@pytest.mark.parametrize(
    ("languages", "title"),
    [
        (("en",), "colour"),
        (("de-at", "en"), "Farbe (AT)"),
        (("de-ch",), "Farbe"),
        (("it", "en"), "colour"),
        (("it",), "color"),
    ],
)
def test_languages_are_tried_in_order(languages, title):
    values = {"en": "colour", "de": "Farbe", "de-at": "Farbe (AT)", "mul": "color"}
    labels = {language: term(text) for language, text in values.items()}
    assert ItemReader(languages).read(item(1, labels=labels)).record["title"] == title


def test_an_item_without_a_name_is_left_out_but_may_be_a_class():
    found = READER.read(item(1, labels={"fr": term("x"), "en": term("  ")}, parents=(2,)))
    assert (found.dropped, found.parents) == ("no label", (2,))


def test_the_best_statements_count():
    claims = [claim(1, "deprecated"), claim(2), claim(3, "preferred"), claim(4)]
    values = [each["mainsnak"]["datavalue"]["value"] for each in best(claims)]
    assert values == [3]
    assert len(best(claims[:2])) == 1
    assert best([claim(None, snaktype="somevalue"), claim(1, "deprecated")]) == []


def test_classes_and_parents():
    claims = {
        "P31": [claim(item_value(5), "deprecated"), claim(item_value(6)), claim(item_value(7))],
        "P279": [claim(item_value(8)), claim(item_value(9), "preferred")],
    }
    found = READER.read(item(1, "x", claims=claims))
    assert found.classes == (6, 7)
    assert found.parents == (8, 9)  # a class is a subclass of each


def test_values_of_old_dumps_have_the_number_alone():
    claims = {"P31": [claim({"entity-type": "item", "numeric-id": 5})]}
    assert READER.read(item(1, "x", claims=claims)).classes == (5,)


@pytest.mark.parametrize(
    ("text", "precision", "date"),
    [
        ("+1952-03-11T00:00:00Z", 11, "1952-03-11"),
        ("+1952-03-00T00:00:00Z", 10, "1952-03"),
        ("+1952-00-00T00:00:00Z", 9, "1952"),
        ("-0044-03-15T00:00:00Z", 11, "-0044-03-15"),
        ("+1950-00-00T00:00:00Z", 8, None),
        ("-13798000000-00-00T00:00:00Z", 3, None),
    ],
)
def test_dates(text, precision, date):
    record = record_of(1, "x", claims={"P569": [claim(time(text, precision))]})
    assert record.get("date_of_birth") == date


@pytest.mark.parametrize(("globe", "place"), [("Q2", (48.2, 16.4)), ("Q405", (None, None))])
def test_coordinates_are_those_on_earth(globe, place):
    value = {
        "latitude": 48.2,
        "longitude": 16.4,
        "globe": f"http://www.wikidata.org/entity/{globe}",
    }
    record = record_of(1, "x", claims={"P625": [claim(value)]})
    assert (record.get("latitude"), record.get("longitude")) == place


def test_sitelinks_are_popularity_and_pages():
    sites = {"enwiki": "Vienna", "dewiki": "Wien", "frwiki": "Vienne"}
    record = record_of(1741, "Vienna", sitelinks=sites)
    assert (record["popularity"], record["enwiki"], record["dewiki"]) == (3, "Vienna", "Wien")
    assert "frwiki" not in record
    assert ItemReader(("en",), 4).read(item(1, "x", sitelinks=sites)).dropped == "few sitelinks"


def test_php_writes_empty_maps_as_lists():
    lists = {name: [] for name in ("descriptions", "aliases", "claims", "sitelinks")}
    assert record_of(1, "x", **lists) == {"id": "Q1", "title": "x", "popularity": 0}


@pytest.mark.parametrize(
    ("language", "wiki"),
    [("en", "enwiki"), ("en-gb", "enwiki"), ("nb", "nowiki"), ("be-tarask", "be_x_oldwiki")],
)
def test_wikipedia_of_a_language(language, wiki):
    assert wiki_of(language) == wiki


@pytest.mark.parametrize(
    ("line", "values"),
    [
        (b"[\n", []),
        (b"\xef\xbb\xbf[\r\n", []),
        (b"]\r\n", []),
        (b"  \n", []),
        (b'{"a": 1},\n', [{"a": 1}]),
        (b'{"a": 1}', [{"a": 1}]),
        (b'[{"a": 1},', [{"a": 1}]),
        (b'{"a": [1]}]', [{"a": [1]}]),
        (b'[{"a": 1}, {"b": 2}]', [{"a": 1}, {"b": 2}]),
    ],
)
def test_lines(line, values):
    assert parse_line(line) == values


@pytest.mark.parametrize("line", [b'{"a": 1', b'{"a": "\xff"}', b"x", b"\x00"])
def test_broken_lines(line):
    with pytest.raises(ValueError):
        parse_line(line)


@pytest.mark.parametrize("change", [{"id": "P5"}, {"id": 5}, {"labels": {"en": 1}}, {"claims": 3}])
def test_malformed_items_are_errors(change):
    value = json.loads(json.dumps(item(1, "x") | change))
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        READER.read(value)
