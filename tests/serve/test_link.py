"""POST /link: what the pipeline finds, by the settings of each request."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_elq.annotate import read_links

from ..helpers import TEXTS

pytestmark = pytest.mark.slow

ALL = [row["text"] for row in TEXTS]


def link(client, **body):
    response = client.post("/link", json=body)
    assert response.status_code == 200, response.text
    return response.json()["results"]


def ids(result):
    return [each["id"] for each in result["links"]]


def test_links_are_those_of_the_pipeline(client, trained_path):
    from spacy_elq.serve.schemas import LinksAnswer

    docs = list(spacy.load(trained_path).pipe(ALL))
    results = link(client, texts=ALL)
    LinksAnswer.model_validate({"results": results})
    for doc, result in zip(docs, results, strict=True):
        links = read_links(doc.spans.values())
        assert ids(result) == [ent.kb_id_ for ent in doc.ents]
        for ent, found in zip(doc.ents, result["links"], strict=True):
            of_doc = links[ent.start_char, ent.end_char]
            assert found["text"] == doc.text[found["start"] : found["end"]] == ent.text
            assert found["title"] == of_doc.title and found["type"] == of_doc.label
            assert found["score"] == pytest.approx(of_doc.score, abs=1e-4)
            assert [c["id"] for c in found["candidates"]] == [c.id for c in of_doc.candidates]
    assert any(map(ids, results))


def test_one_text_has_one_result(client):
    assert [ids(result) for result in link(client, text=ALL[1])] == [["Q2"]]


def test_settings_are_those_of_the_request_alone(client):
    """Requests with all kinds of settings at once: each gets what it gets alone."""
    text = "is paris near georgia"
    bodies = [
        {"text": text},
        {"text": text, "threshold": 0},
        {"text": text, "threshold": -1000, "floor": -1000},
        {"text": text, "top_k": 1},
        {"text": text, "types": ["person"]},
        {"text": text, "ids": ["Q4"]},
        {"text": text, "types": ["no such type"]},
        {"text": text, "mentions": [{"start": 3, "end": 8}]},
        {"text": text, "mentions": []},
        {"text": text, "explain": True},
        {"text": text, "mention_kinds": "all"},
    ] * 3

    def ask(body):
        response = client.post("/link", json=body)
        return response.status_code, response.json()

    alone = [ask(body) for body in bodies]
    with ThreadPoolExecutor(len(bodies)) as pool:
        together = list(pool.map(ask, bodies))
    assert [status for status, _ in alone] == [status for status, _ in together]
    for (_, one), (_, other) in zip(alone, together, strict=True):
        assert _rounded(one) == _rounded(other)
    assert not alone[1][1]["results"][0]["links"]
    assert {each["id"] for each in alone[4][1]["results"][0]["links"]} <= {"Q2"}
    assert alone[6][1]["code"] == "ELQ237"


def _rounded(value):
    """Padding beside other texts changes the last digits."""
    if isinstance(value, float):
        return round(value, 2)
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def test_requests_that_arrive_together_are_one_batch(client, monkeypatch):
    batches = []
    taken, thread_free = threading.Event(), threading.Event()
    batcher = client.service.batcher
    first = batcher._link

    def watched(jobs):
        batches.append([job.text for job in jobs])
        taken.set()
        thread_free.wait(60)
        return first(jobs)

    link(client, text=ALL[0])  # a batch of one: the next request is not kept waiting
    monkeypatch.setattr(batcher, "_link", watched)
    with ThreadPoolExecutor(9) as pool:
        answers = [pool.submit(link, client, text=ALL[0])]
        assert taken.wait(60)
        answers += [pool.submit(link, client, text=text) for text in [*ALL, *ALL][1:9]]
        until = time.monotonic() + 60
        while batcher._queue.qsize() < 8 and time.monotonic() < until:
            time.sleep(0.01)
        thread_free.set()
        found = [answer.result() for answer in answers]
    assert [len(batch) for batch in batches] == [1, 8]
    assert ids(found[1][0]) == ["Q2"]


def test_given_mentions(client):
    texts = ["who did paris marry", "paris and georgia"]
    mentions = [[{"start": 8, "end": 13}], [{"start": 10, "end": 17}]]
    results = link(client, texts=texts, mentions=mentions, threshold=-1000)
    assert [[(e["start"], e["end"]) for e in r["links"]] for r in results] == [
        [(8, 13)],
        [(10, 17)],
    ]


def test_explanations_say_what_decided(client):
    (result,) = link(client, text=ALL[1], explain=True)
    (span,) = [span for span in result["explanation"]["spans"] if not span["cut"]]
    (found,) = result["links"]
    assert (span["start"], span["end"]) == (found["start"], found["end"])
    assert span["candidates"][0]["id"] == found["id"]
    assert {"name_share", "popularity_share", "raw_score"} <= span["candidates"][0].keys()


def test_all_above_the_floor_are_considered(client):
    (result,) = link(client, text=ALL[1], floor=-1000)
    scores = [each["score"] for each in result["considered"]]
    assert len(scores) > len(result["links"]) and scores == sorted(scores, reverse=True)
    assert "considered" not in link(client, text=ALL[1])[0]


def test_a_text_that_fails_leaves_the_others(client, monkeypatch):
    pipe = client.service.nlp.pipe

    def failing(docs, **options):
        docs = list(docs)
        if any("mercury" in doc.text for doc in docs):
            raise RuntimeError("mercury is a secret")
        return pipe(docs, **options)

    monkeypatch.setattr(client.service.nlp, "pipe", failing)
    with ThreadPoolExecutor(len(ALL)) as pool:
        answers = list(pool.map(lambda text: client.post("/link", json={"text": text}), ALL))
    statuses = [answer.status_code for answer in answers]
    assert statuses == [500 if "mercury" in text else 200 for text in ALL]
    assert not any("secret" in answer.text for answer in answers)
    assert client.service.elq.settings.mentions == "find"


@settings(max_examples=30)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.randoms())
def test_batcher_gives_each_request_its_own(sizes, random):
    from spacy_elq.serve.batching import Batcher
    from spacy_elq.serve.linking import Manner, TextJob

    manner = Manner((), None, None, False, False)

    async def ask_all():
        batcher = Batcher(lambda jobs: [{"text": job.text} for job in jobs], 1000)
        batcher.start()

        async def ask(i, size):
            await asyncio.sleep(random.random() / 1000)
            return await batcher.link([TextJob(f"{i} {j}", manner) for j in range(size)])

        found = await asyncio.gather(*(ask(i, size) for i, size in enumerate(sizes)))
        await batcher.stop()
        return found

    expected = [[{"text": f"{i} {j}"} for j in range(n)] for i, n in enumerate(sizes)]
    assert asyncio.run(ask_all()) == expected
