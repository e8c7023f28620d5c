"""Files of mentions → vectors that an index is tuned with."""

import json

import numpy as np
import pytest

from spacy_elq.cli._queries import mention_vectors, read_queries
from spacy_elq.errors import ElqError
from spacy_elq.kb.live.view import View

from ..helpers import TEXTS
from ..kb.helpers import HashEncoder


@pytest.fixture
def spans(tmp_path):
    path = tmp_path / "mentions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in TEXTS), encoding="utf8")
    return path


class TextEncoder(HashEncoder):
    def encode(self, entities):
        self.titles = [entity.title for entity in entities]
        return super().encode(entities)


def test_mentions_of_spans_are_encoded_as_entities(spans):
    encoder = TextEncoder()
    queries = read_queries(spans, encoder)
    assert encoder.titles[:3] == ["paris", "paris", "georgia"]
    # A text without mentions is one, as a line of text is.
    assert encoder.titles[-1] == "what time is it"
    assert queries.vectors.shape == (len(TEXTS), 8)
    assert queries.source == "mentions.jsonl, mentions, encoded as entities"


def test_lines_of_text_and_vectors(tmp_path):
    lines = tmp_path / "names.txt"
    lines.write_text("Paris\n\nNew York\n", encoding="utf8")
    encoder = TextEncoder()
    assert len(read_queries(lines, encoder).vectors) == 2
    assert encoder.titles == ["Paris", "New York"]
    np.save(tmp_path / "own.npy", np.ones((3, 8), "f4"))
    assert read_queries(tmp_path / "own.npy", encoder).vectors.shape == (3, 8)


def test_bad_files(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    with pytest.raises(ElqError, match=r"ELQ228.*empty\.txt"):
        read_queries(empty, HashEncoder())
    with pytest.raises(ElqError, match=r"ELQ218.*no\.txt"):
        read_queries(tmp_path / "no.txt", HashEncoder())
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"M\xfcnchen\n")
    with pytest.raises(ElqError, match=r"ELQ301.*latin\.txt"):
        read_queries(latin, HashEncoder())


@pytest.mark.slow
def test_vectors_are_those_that_the_linker_searches_with(make_nlp, spans, monkeypatch):
    nlp = make_nlp()
    elq = nlp.get_pipe("elq")
    queries = read_queries(spans, HashEncoder(), nlp)
    given = [[(span["start"], span["end"]) for span in row["spans"]] for row in TEXTS]
    asked = []
    search = View.search
    monkeypatch.setattr(View, "search", lambda kb, q, k: asked.append(q) or search(kb, q, k))
    elq.rank_mentions([nlp.make_doc(row["text"]) for row in TEXTS], given)
    np.testing.assert_allclose(queries.vectors, np.concatenate(asked), atol=1e-5)
    assert queries.source == "mentions.jsonl, mentions as the linker sees them"


@pytest.mark.slow
def test_mentions_of_plain_text_are_found(make_nlp):
    nlp = make_nlp(num_cand_mentions=3)
    vectors = mention_vectors(nlp, [("what river runs through paris", []), ("who is he", [])])
    assert 0 < len(vectors) <= 6
    assert np.isfinite(vectors).all()


def test_a_pipeline_without_linker_is_refused():
    import spacy

    with pytest.raises(ElqError, match="ELQ403"):
        mention_vectors(spacy.blank("en"), [("a", [])])


@pytest.mark.parametrize(
    "vectors, message",
    [
        (np.ones((3, 5)), "ELQ219"),
        (np.zeros((0, 8)), "ELQ228"),
        (np.full((2, 8), np.nan), "ELQ257.*NaN"),
        (np.array([["a"]]), "ELQ257"),
        (np.array([object()]), "ELQ257"),
    ],
)
def test_vectors_that_cannot_be_used(tmp_path, vectors, message):
    np.save(tmp_path / "own.npy", vectors, allow_pickle=True)
    with pytest.raises(ElqError, match=message):
        read_queries(tmp_path / "own.npy", HashEncoder())
    (tmp_path / "own.npy").write_bytes(b"damage")
    with pytest.raises(ElqError, match="ELQ257"):
        read_queries(tmp_path / "own.npy", HashEncoder())
