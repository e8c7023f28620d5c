"""Texts in bulk: order, fields, and no growth."""

import json
import multiprocessing
from functools import partial

import pytest
import spacy

from spacy_elq import ElqError
from spacy_elq.bulk.link import BATCHES_AHEAD, link_stream
from spacy_elq.bulk.workers import Workers
from spacy_elq.corpora.predictions import text_from_prediction
from spacy_elq.corpora.spans_jsonl import LinkedText, jsonl_line, text_to_dict
from spacy_elq.pace import AdaptiveChunkSize

from ..helpers import TEXTS


@pytest.fixture(scope="module")
def nlp(trained_path):
    return spacy.load(trained_path)


def rows(n):
    texts = [row["text"] for row in TEXTS]
    return [LinkedText(texts[i % 7] + " x" * (i * 5 % 11), (), {"id": i}) for i in range(n)]


def flat(chunks):
    return [row for chunk in chunks for row in chunk]


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_gives_what_single_calls_give_in_the_order_of_the_input(nlp, batch_size):
    some = rows(80)
    linked = flat(link_stream(nlp, some, batch_size))
    assert [(row.text, row.fields) for row in linked] == [(row.text, row.fields) for row in some]
    for row in linked:
        spans = json.loads(jsonl_line(row))["spans"]
        wanted = text_to_dict(text_from_prediction(nlp(row.text)))["spans"]
        for found, want in zip(spans, wanted, strict=True):
            assert found.keys() == want.keys()
            for name in ("score", "mention_score"):
                assert found.pop(name) == pytest.approx(want.pop(name), abs=1e-4)
            candidates = zip(found.pop("candidates"), want.pop("candidates"), strict=True)
            assert all(one["id"] == other["id"] for one, other in candidates)
            assert found == want


def test_reads_only_some_batches_ahead_and_none_with_batches_of_one(nlp):
    drawn = []

    def draw(n):
        for row in rows(n):
            drawn.append(row)
            yield row

    chunks = [len(chunk) for chunk in link_stream(nlp, draw(200), batch_size=16)]
    assert chunks == [2, 4, 8, 16, 32, 64, 74]
    assert len(drawn) == 200 and max(chunks) <= 16 * BATCHES_AHEAD
    drawn.clear()
    stream = link_stream(nlp, draw(10), batch_size=1)
    next(stream)
    assert len(drawn) == 1


def test_a_chunk_takes_some_seconds_at_most():
    pace = AdaptiveChunkSize(32, 2048)
    for _ in range(9):
        pace.record(pace.size, seconds=pace.size / 35)  # a slow machine: 35 texts a second
    assert pace.size == 70
    for _ in range(9):
        pace.record(pace.size, seconds=pace.size / 10_000)
    assert pace.size == 2048
    pace.record(pace.size, seconds=1e6)
    assert pace.size == 1


@pytest.fixture(scope="module")
def workers(trained_path):
    with Workers(partial(spacy.load, trained_path), 2) as workers:
        yield workers


@pytest.mark.slow
def test_processes_give_what_this_one_gives(nlp, workers):
    some = rows(60)
    seen = []
    linked = list(link_stream(nlp, some, 4, on_linked=seen.append, workers=workers))
    assert [[row.text for row in chunk] for chunk in linked] == seen
    assert sum(map(len, seen)) == 60
    here = flat(link_stream(nlp, some, 4))
    for there, row in zip(flat(linked), here, strict=True):
        assert (there.text, there.fields) == (row.text, row.fields)
        assert [(s.start, s.end, s.id) for s in there.spans] == [
            (s.start, s.end, s.id) for s in row.spans
        ]


@pytest.mark.slow
def test_processes_read_some_texts_ahead(nlp, workers):
    drawn = []
    stream = link_stream(nlp, (drawn.append(row) or row for row in rows(90)), 1, workers=workers)
    assert len(next(stream)) == 1
    assert len(drawn) == workers.count + 2
    assert len(flat(stream)) == 89


@pytest.mark.slow
def test_a_process_that_is_killed_is_told(nlp, trained_path):
    others = set(multiprocessing.active_children())
    with Workers(partial(spacy.load, trained_path), 1) as workers:
        stream = link_stream(nlp, rows(200), 2, workers=workers)
        next(stream)
        (process,) = set(multiprocessing.active_children()) - others
        process.kill()
        with pytest.raises(ElqError, match="ELQ433"):
            flat(stream)


def test_long_texts_are_not_held_many_at_once(nlp, monkeypatch):
    monkeypatch.setattr("spacy_elq.bulk.link.CHARS_AHEAD", 100)
    monkeypatch.setattr("spacy_elq.pace.SECONDS", 1e9)
    chunks = list(link_stream(nlp, [LinkedText("a" * 60)] * 4, batch_size=64))
    assert [len(chunk) for chunk in chunks] == [2, 2]


def test_strings_of_the_texts_are_forgotten(nlp):
    before = len(nlp.vocab.strings)
    flat(link_stream(nlp, [LinkedText(f"is mercury w{i}ord") for i in range(200)], 64))
    assert len(nlp.vocab.strings) < before + 20


def test_a_text_that_is_too_long_is_refused(nlp, monkeypatch):
    monkeypatch.setattr(nlp, "max_length", 50)
    with pytest.raises(ElqError, match=r"ELQ424.*'ccc.* 51 "):
        flat(
            link_stream(nlp, [LinkedText("a"), LinkedText("b"), LinkedText("c" * 51)], batch_size=1)
        )
    assert flat(link_stream(nlp, [], 64)) == []
