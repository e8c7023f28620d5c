"""Entities over HTTP: found, added, replaced, removed, on disk when it is answered."""

from __future__ import annotations

import pytest
import spacy

from spacy_elq.kb.knowledge_base import FaissKB

pytestmark = pytest.mark.slow

KEN = {"title": "Ken Barlow", "description": "a teacher", "aliases": ["Kenneth"], "born": 1939}


def test_find_by_name_and_by_text(client):
    named = client.get("/entities", params={"name": "Paris"}).json()["entities"]
    assert {entity["id"] for entity in named} == {"Q1", "Q2"}
    found = client.get("/entities", params={"text": "georgia", "limit": 3}).json()["entities"]
    assert len(found) == 3 and {entity["id"] for entity in found} >= {"Q3", "Q4"}
    assert client.get("/entities/Q5").json()["rank"] == 1


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/entities/nope", 404, "ELQ568"),
        ("/entities/a/b%2Fc%00%ff", 404, "ELQ568"),
        ("/entities", 422, "ELQ566"),
        ("/entities?name=a&text=b", 422, "ELQ566"),
        ("/entities?text=%20", 422, "ELQ273"),
        ("/entities?text=a&limit=1000", 422, "ELQ566"),
        ("/nothing", 404, "ELQ577"),
        ("/page/../app.py", 404, "ELQ577"),
        ("/link", 405, "ELQ577"),
    ],
)
def test_what_is_not_there(client, path, status, code):
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_changes_are_refused_if_read_only(client):
    for method in ("PUT", "DELETE"):
        answer = client.request(method, "/entities/Q1", json=KEN)
        assert (answer.status_code, answer.json()["code"]) == (403, "ELQ569")


def test_a_change_is_on_disk_and_seen_by_all(serve):
    one, other = serve(), serve()
    kb = FaissKB.open(serve.path / "elq" / "kb", spacy.blank("en").vocab)
    assert one.put("/entities/X1", json=KEN).status_code == 201
    kb.refresh()
    assert kb.entity("X1").title == "Ken Barlow"
    assert other.get("/entities/X1").json() == {"id": "X1", **KEN}
    assert other.put("/entities/X1", json={**KEN, "id": "X1", "born": 1940}).status_code == 200
    assert one.get("/entities/X1").json()["born"] == 1940
    body = {"text": "ken barlow", "mentions": [{"start": 0, "end": 10}], "threshold": -1000}
    for each in (one, other):
        (found,) = each.post("/link", json=body).json()["results"][0]["links"]
        assert found["id"] == "X1"
    assert other.delete("/entities/X1").status_code == 204
    assert one.get("/entities/X1").status_code == 404
    assert one.delete("/entities/X1").status_code == 404


def test_wrong_entities(serve):
    client = serve()
    for body, code in (
        ({}, "ELQ566"),
        ({"title": " "}, "ELQ232"),
        ({"title": 1}, "ELQ566"),
        ({"title": "a", "aliases": [1]}, "ELQ323"),
        ({"title": "a", "popularity": -1}, "ELQ323"),
        ({"title": "a", "id": "other"}, "ELQ578"),
    ):
        answer = client.put("/entities/X1", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, code), body
        assert client.get("/entities/X1").status_code == 404


def test_changes_need_the_token(serve):
    client = serve(token="0123456789abcdef")
    for headers in ({}, {"Authorization": "Bearer no"}, {"Authorization": "0123456789abcdef"}):
        answer = client.put("/entities/X1", json=KEN, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "ELQ570")
    headers = {"Authorization": "Bearer 0123456789abcdef"}
    assert client.put("/entities/X1", json=KEN, headers=headers).status_code == 201


def test_a_page_from_elsewhere_changes_nothing(serve):
    client = serve()
    answer = client.put("/entities/X1", json=KEN, headers={"Host": "rebound.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "ELQ576")
    answer = client.put("/entities/X1", json=KEN, headers={"Host": "localhost:1"})
    assert answer.status_code == 201
