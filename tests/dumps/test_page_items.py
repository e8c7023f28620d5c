"""Ids of Wikidata for the pages of a Wikipedia."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from spacy_elq.dumps.wikipedia import WikipediaOptions, convert_wikipedia
from spacy_elq.entities.reader import read_entities
from spacy_elq.errors import ElqError

from .wiki_xml import write_dump

PAGES = {
    "O'Hare (a)": "'''O'Hare''' is near [[Old name|one]], [[Gone]], [[Twins]].",
    "New name": "Text of [[O'Hare (a)]].",
    "Twins": "One of [[New name]].",
}
PROPS = r"""-- MySQL dump
CREATE TABLE `page_props` (
  `pp_page` int(8) unsigned NOT NULL,
  `pp_propname` varbinary(60) NOT NULL,
  `pp_value` blob NOT NULL,
  PRIMARY KEY (`pp_page`,`pp_propname`)
) ENGINE=InnoDB;
INSERT INTO `page_props` VALUES (1,'displaytitle','a),(\'b\\',NULL),(1,'wikibase_item','Q11',NULL);
INSERT INTO `page_props` VALUES (2,'wikibase_item','Q12',NULL),(3,'disambiguation','',NULL);
"""
PAGE = r"""INSERT INTO `page` VALUES (1,0,'O\'Hare_(a)',0),(2,0,'New_name',1),(8,0,'Old_name',1),
(9,4,'X',1);
INSERT INTO `page` VALUES (3,0,'Twins',0);
"""
REDIRECT = "INSERT INTO `redirect` VALUES (8,0,'New_name','',''),(9,4,'X','','');\n"
TITLES = {"O'Hare (a)": "Q11", "New name": "Q12", "Gone": "Q13"}
ITEM = {
    "type": "item",
    "id": "Q11",
    "sitelinks": {"enwiki": {"site": "enwiki", "title": "O'Hare (a)"}},
    "descriptions": {"en": {"language": "en", "value": "an airport"}},
}


@pytest.fixture
def dump(tmp_path):
    return write_dump(tmp_path / "x.xml.bz2", PAGES)


def ids(dump: Path, *files: Path, **options: bool):
    out = dump.with_name("out")
    convert_wikipedia(dump, out, WikipediaOptions(**options), items=files, overwrite=True)
    entities = list(read_entities(out / "entities"))
    texts = map(json.loads, (out / "texts" / "part-00000.jsonl").read_text().splitlines())
    return {e.title: e.id for e in entities}, [[s["id"] for s in t["spans"]] for t in texts]


def write(path: Path, text: str) -> Path:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf8") as file:
        file.write(text)
    return path


def test_tables_of_the_wiki(dump, tmp_path):
    props = write(tmp_path / "page_props.sql.gz", PROPS)
    others = write(tmp_path / "page.sql.gz", PAGE), write(tmp_path / "redirect.sql", REDIRECT)
    entities, texts = ids(dump, props, *others)
    assert entities == {"O'Hare (a)": "Q11", "New name": "Q12"}  # Twins is a disambiguation page
    assert texts == [["Q12"], ["Q11"]]  # by the redirect from Old name, which the dump lacks


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"{title}\t{id}\n" for title, id in TITLES.items()),
        "item,title\n" + "".join(f"{id},{title}\n" for title, id in TITLES.items()),
        "".join(json.dumps({"title": t, "id": i}) + "\n" for t, i in TITLES.items()),
        json.dumps(TITLES),
    ],
)
def test_files_of_titles(text, dump, tmp_path):
    file = write(tmp_path / "titles", text)
    assert ids(dump, file)[0] == {"O'Hare (a)": "Q11", "New name": "Q12", "Twins": "Twins"}
    assert ids(dump, file, keep_missing=True)[1][0] == ["Old name", "Q13", "Twins"]


def test_a_wikidata_dump_gives_short_descriptions_too(dump, tmp_path):
    file = write(tmp_path / "x.json.gz", f"[\n{json.dumps(ITEM)},\n{json.dumps({})}\n]\n")
    assert ids(dump, file)[0]["O'Hare (a)"] == "Q11"
    first = next(iter(read_entities(tmp_path / "out" / "entities")))
    assert first.extra["short_description"] == "an airport"
    assert first.description == "O'Hare is near one, Gone, Twins."


def test_two_articles_never_have_one_id(dump, tmp_path):
    file = write(tmp_path / "titles.tsv", "New name\tQ1\nTwins\tQ1\n")
    assert ids(dump, file)[0] == {"O'Hare (a)": "O'Hare (a)", "New name": "Q1", "Twins": "Twins"}


@pytest.mark.parametrize("text", ["nothing\n", "{}", "[]", PAGE.replace("0,'", "4,'")])
def test_a_file_without_items_is_an_error(text, dump, tmp_path):
    with pytest.raises(ElqError, match="ELQ349"):
        ids(dump, write(tmp_path / "x", text))


def test_a_cut_table_is_an_error(dump, tmp_path):
    whole = write(tmp_path / "x.sql.gz", PROPS).read_bytes()
    (tmp_path / "x.sql.gz").write_bytes(whole[:-20])
    with pytest.raises(ElqError, match="ELQ301"):
        ids(dump, tmp_path / "x.sql.gz")
