"""The names by which articles are linked become aliases of Wikidata's entities."""

from __future__ import annotations

import numpy as np
import pytest
from spacy.vocab import Vocab

from spacy_elq.dumps.parts import DumpManifest, part_path, write_part
from spacy_elq.dumps.wikidata import WikidataOptions, convert_wikidata
from spacy_elq.entities.reader import read_entities
from spacy_elq.errors import ElqError
from spacy_elq.kb.build import build_kb
from spacy_elq.kb.files.names import loose_key, name_words
from spacy_elq.kb.knowledge_base import FaissKB

from ..kb.helpers import HashEncoder
from .wikidata_json import dump_of, item, term

ARTICLES = [
    {
        "id": "Vienna",
        "title": "Vienna",
        "description": "Vienna is the capital.",
        "aliases": [
            {"name": "Vienna", "count": 9, "link_probability": 0.75},
            {"name": "Wien", "count": 2, "link_probability": 0.5},
            "Vienna, Austria",
        ],
    },
    {"id": "Paris (mythology)", "title": "Paris (mythology)", "aliases": ["Paris"]},
]
ITEMS = [
    item(
        1741,
        "Vienna",
        sitelinks={"enwiki": "Vienna"},
        aliases={"en": [term("Wien"), term("Vindobona")]},
    ),
    item(
        167646,
        "Paris",
        sitelinks={"enwiki": "Paris (mythology)"},
        descriptions={"en": term("son of Priam")},
    ),
    item(3, "Vienna"),
]


@pytest.fixture
def wikipedia(tmp_path):
    out = tmp_path / "wikipedia"
    for number, article in enumerate(ARTICLES):
        write_part(part_path(out / "entities", number), [article])
    DumpManifest("wikipedia", "2026-01-01", ["en"], "CC-BY-SA-4.0").write(out)
    return out


def convert(tmp_path, wikipedia, **options):
    dump, out = tmp_path / "dump.json", tmp_path / "out"
    dump.write_bytes(dump_of(ITEMS))
    options = WikidataOptions(wikipedia=str(wikipedia), **options)
    return convert_wikidata(dump, out, options), [*read_entities(out / "entities")]


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_names_have_counts_and_link_probabilities(tmp_path, wikipedia, format):
    manifest, (vienna, paris, other) = convert(tmp_path, wikipedia, format=format)
    assert vienna.aliases == ("Wien", "Vindobona", "Vienna", "Vienna, Austria")
    assert vienna.counts == {"Wien": 2, "Vienna": 9}
    assert vienna.link_probabilities == {"Wien": 0.5, "Vienna": 0.75}
    assert vienna.description == "Vienna is the capital."
    assert (paris.title, paris.aliases, paris.description) == ("Paris", (), "son of Priam")
    assert (other.aliases, other.description) == ((), "")
    assert manifest.counts["with an article"] == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"entities", "manifest.json"}


def test_counts_link_probabilities_and_popularity_reach_the_knowledge_base(tmp_path, wikipedia):
    convert(tmp_path, wikipedia)
    entities = read_entities(tmp_path / "out" / "entities")
    build_kb(entities, tmp_path / "kb", HashEncoder(), progress=False)
    view = FaissKB.open(tmp_path / "kb", Vocab()).view
    keys = np.array([loose_key(name_words("Vienna"))], dtype=np.uint64)
    _, names = view.find_names(keys)
    counts = np.rint(np.expm1(names["log_count"].astype(float)))
    linked = names["link_probability"].tolist()
    # Vienna itself as its title and as an alias, and the other item of that name.
    found = [*zip(names["row"].tolist(), counts.tolist(), linked, strict=True)]
    assert found == [(0, 9, 0.75), (2, 0, 0)]
    assert np.isfinite(view.popularity(np.array([0, 1, 2]))).all()


def test_the_language_has_to_be_one_of_those_asked_for(tmp_path, wikipedia):
    with pytest.raises(ElqError, match="ELQ339"):
        convert(tmp_path, wikipedia, languages=["de"])
    assert len(convert(tmp_path, wikipedia)[1]) == 3


def test_it_has_to_be_an_output_of_wikipedia(tmp_path, wikipedia):
    with pytest.raises(ElqError, match="ELQ362"):
        convert(tmp_path, tmp_path)
    convert(tmp_path, wikipedia)
    (tmp_path / "other").mkdir()
    with pytest.raises(ElqError, match="ELQ362"):
        convert(tmp_path / "other", tmp_path / "out")
