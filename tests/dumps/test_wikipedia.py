"""A dump → entities and texts, from the command to the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spacy_elq.corpora.spans_jsonl import read_spans_jsonl
from spacy_elq.dumps.wikipedia import WikipediaOptions, convert_wikipedia
from spacy_elq.entities.reader import read_entities
from spacy_elq.errors import ElqError

from ..helpers import run
from .wiki_xml import header, page, write_dump

PAGES = {
    "Paris": "'''Paris''' is the capital of [[France]]. The City of Light is in [[Europe|europe]]."
    "\n\n[[Paris]] has [[Lutetia|old Lutetia]] and [[No page]]; [[Mercury]] too. {{x}} Rome is.",
    "France": "'''France''' is a state. Its capital is [[Lutetia|Paris]]. In Paris, [[paris]]ians",
    "Lutetia": "→ Old Paris",
    "Old Paris": "→ Paris",
    "Circle": "→ Round",
    "Round": "→ Circle",
    "Mercury": "'''Mercury''' may be [[Paris]].\n{{Disambiguation}}",
    "Mercury (planet)": "Mercury is a planet of [[Paris]] and [[circle]].\n[[Category:Planets]]",
    "List of planets": "* [[Mercury (planet)]]",
}


@pytest.fixture
def dump(tmp_path):
    return write_dump(tmp_path / "enwiki-20240301-pages-articles.xml.bz2", PAGES)


def convert(dump: Path, out: Path, **options) -> dict:
    return dict(convert_wikipedia(dump, out, WikipediaOptions(**options)).counts)


def read(out: Path):
    entities = {e.title: e for e in read_entities(out / "entities" / "part-00000.jsonl")}
    return entities, list(read_spans_jsonl(out / "texts" / "part-00000.jsonl"))


def test_entities_have_names_counts_and_popularity(dump, tmp_path):
    counts = convert(dump, tmp_path / "out")
    entities, _ = read(tmp_path / "out")
    paris = entities["Paris"]
    assert list(entities) == ["Paris", "France", "Mercury (planet)"]
    expected = {"Paris": 3, "old Lutetia": 1, "parisians": 1, "Lutetia": 0, "Old Paris": 0}
    assert paris.counts == expected
    assert (paris.popularity, entities["France"].popularity) == (5, 1)
    first = "Paris is the capital of France. The City of Light is in europe."
    assert paris.description == first
    assert entities["Mercury (planet)"].aliases == ("Mercury",)
    assert entities["Mercury (planet)"].extra["categories"] == ["Planets"]
    assert counts == {
        **{"pages": 9, "pages: redirect": 4, "pages: article": 3, "pages: disambiguation": 1},
        **{"pages: list": 1, "entities": 3, "texts": 4, "links": 6},
        **{"links dropped: missing page": 3, "links dropped: disambiguation": 1},
    }


def test_names_have_a_link_probability(dump, tmp_path):
    convert(dump, tmp_path / "out")
    entities, _ = read(tmp_path / "out")
    # "Paris" is linked three times, and occurs twice more. Nobody links "Lutetia" and "Old Paris".
    expected = {"Paris": 0.6, "old Lutetia": 1.0, "parisians": 1.0}
    assert entities["Paris"].link_probabilities == expected


def names(text, spans) -> list[str]:
    return [text.text[start:end] for start, end in spans]


def test_texts_have_gold_and_unknown_spans(dump, tmp_path):
    convert(dump, tmp_path / "out")
    _, texts = read(tmp_path / "out")
    gold = [[(t.text[s.start : s.end], s.id) for s in t.spans] for t in texts]
    assert gold[0] == [("France", "France")]
    assert gold[1] == [("Paris", "Paris"), ("old Lutetia", "Paris")]
    assert gold[2] == [("Paris", "Paris"), ("parisians", "Paris")]
    unknown = [names(t, ((s["start"], s["end"]) for s in t.fields["unknown"])) for t in texts]
    assert unknown[0] == ["Paris", "The City of Light", "europe"]
    assert unknown[1] == ["No page", "Mercury", "Rome"]
    assert unknown[2] == ["France", "Its", "In", "Paris"]


def test_propagation_makes_mentions_of_repeated_names_and_the_title(dump, tmp_path):
    convert(dump, tmp_path / "out", propagate=True)
    _, texts = read(tmp_path / "out")
    gold = [(t.text[s.start : s.end], s.id) for t in texts[2:3] for s in t.spans]
    paris = ("Paris", "Paris")
    assert gold == [("France", "France"), paris, paris, ("parisians", "Paris")]


def test_redirects_to_missing_pages_are_followed_too(tmp_path):
    pages = {"A": "[[B]], [[C]], [[D]] and [[Round]]", "C": "→ B", "D": "→ C", "Round": "→ Round"}
    dump = write_dump(tmp_path / "x.xml.bz2", pages)
    convert(dump, tmp_path / "out", keep_missing=True)
    _, (text,) = read(tmp_path / "out")
    assert [span.id for span in text.spans] == ["B", "B", "B", "Round"]


def test_titles_of_missing_pages_may_have_any_characters(tmp_path):
    dump = write_dump(tmp_path / "x.xml.bz2", {"A": '[[B%00|b]] [[B"\\|c]] [[A]] [[🏀]]', "B": "x"})
    convert(dump, tmp_path / "out", keep_missing=True)
    _, (text,) = read(tmp_path / "out")
    assert [span.id for span in text.spans] == ["B\0", 'B"\\', "A", "🏀"]


def test_the_manifest_says_what_it_is(dump, tmp_path):
    convert(dump, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["kind"] == "wikipedia"
    assert (manifest["snapshot"], manifest["languages"]) == ("2024-03-01", ["en"])
    assert manifest["licence"] == "CC-BY-SA-4.0"
    assert not (tmp_path / "out" / "unfinished").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\x03\x04", b"<html>", bytes(100_000)])
def test_another_kind_of_file_is_an_error(content, tmp_path):
    (tmp_path / "dump.xml").write_bytes(content)
    with pytest.raises(ElqError, match=r"\[ELQ(347|360)\]"):
        convert(tmp_path / "dump.xml", tmp_path / "out")


def test_malformed_pages_cost_themselves_alone(tmp_path):
    pages = [
        page("A", "[[B]] is here"),
        page("Bad", "x").replace("<revision>", "<revision><oops>"),
        "<page><title>Cut</title><ns>0</ns>",
        page("B", "[[A]] too"),
    ]
    path = tmp_path / "x.xml"
    path.write_text(header() + "".join(pages) + "</mediawiki>")
    manifest = convert_wikipedia(path, tmp_path / "out", WikipediaOptions())
    assert manifest.counts["pages: malformed"] == 2
    assert manifest.counts["entities"] == manifest.counts["links"] == 2
    assert [problem[:4] for problem in manifest.problems] == ["Bad:", "Cut:"]


def test_a_cut_dump_keeps_the_pages_before_the_cut(dump, tmp_path):
    import bz2

    pages = [page(f"Page {i}", f"text {i} of [[Page 0]]" + "x" * 50, i) for i in range(1000)]
    whole = bz2.compress((header() + "".join(pages) + "</mediawiki>").encode(), 1)
    dump.write_bytes(whole[: len(whole) * 2 // 3])
    manifest = convert_wikipedia(dump, tmp_path / "out", WikipediaOptions())
    assert 200 < manifest.counts["entities"] < 800
    assert "ELQ346" in manifest.problems[0]


def test_utf16_and_pages_without_ns(tmp_path):
    pages = [
        page("Сыр", "[[сыр]] и [[Файл:x|y]][[Категория:Ж]]", ns=None),
        page("Файл:x", "z", ns=None),
    ]
    namespaces = {6: "Файл", 14: "Категория"}
    text = header("ru", namespaces) + "".join(pages) + "</mediawiki>"
    (tmp_path / "x.xml").write_text(text, encoding="utf-16")
    convert(tmp_path / "x.xml", tmp_path / "out")
    entities, (text,) = read(tmp_path / "out")
    assert list(entities) == ["Сыр"] and text.text == "сыр и"


def test_parquet_has_the_same_columns_in_every_part(dump, tmp_path):
    from pyarrow import parquet

    convert(dump, tmp_path / "out", format="parquet")
    convert(dump, tmp_path / "lines")
    parts = read_entities(tmp_path / "out" / "entities")
    assert [entity.counts for entity in parts] == [
        e.counts for e in read(tmp_path / "lines")[0].values()
    ]
    assert parquet.read_table(tmp_path / "out" / "texts").num_rows == 4
    empty = write_dump(tmp_path / "empty.xml.bz2", {"A": "→ B"})
    convert(empty, tmp_path / "none", format="parquet")
    assert parquet.read_table(tmp_path / "none" / "texts").num_columns == 6


def test_a_hint_where_most_links_lead_out_of_the_dump(tmp_path):
    def hint(pages, *options):
        dump = write_dump(tmp_path / "x.xml.bz2", pages)
        result = run("wikipedia", dump, tmp_path / "out", "-O", *options)
        assert result.exit_code == 0
        return "--keep-missing" in result.stderr

    assert hint({"A": "[[B]], [[C]] and [[A]]"})
    assert not hint({"A": "[[B]], [[C]] and [[A]]"}, "--keep-missing")
    assert not hint({"A": "[[B]], [[C]] and [[A]]"}, "--quiet")
    assert not hint({"A": "[[B]] and [[A]]"})
    assert not hint({"A": "none"})
