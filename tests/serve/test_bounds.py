"""What is wrong, too large or too slow is refused, with a code; nobody else notices."""

from __future__ import annotations

import json
import logging
import socket
import time

import pytest

from spacy_elq.errors import ElqError, Errors

from ..helpers import TEXTS
from .hardship import send_malformed

pytestmark = pytest.mark.slow

SECRET = "xyzzy plugh"


def address(client):
    return client.base_url.host, client.base_url.port


def post(client, body, **options):
    return client.post("/link", content=body, **options)


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        (b"", 422, "ELQ566", "body"),
        (b"{", 400, "ELQ567", ""),
        (b"\xff", 400, "ELQ567", ""),
        (b"[" * 100_000, 400, "ELQ567", ""),
        (b"[]", 422, "ELQ566", "body"),
        (b"{}", 422, "ELQ566", "either text or texts"),
        (b'{"text": "a", "texts": ["b"]}', 422, "ELQ566", "either text or texts"),
        (b'{"text": 1}', 422, "ELQ566", "text"),
        (b'{"text": "a", "treshold": 1}', 422, "ELQ566", "treshold"),
        (b'{"text": "a", "threshold": "1"}', 422, "ELQ566", "threshold"),
        (b'{"text": "a", "threshold": NaN}', 422, "ELQ566", "threshold"),
        (b'{"text": "a", "top_k": 0}', 422, "ELQ566", "top_k"),
        (b'{"text": "a", "top_k": 1000}', 422, "ELQ566", "top_k"),
        (b'{"text": "a", "types": []}', 422, "ELQ566", "types"),
        (b'{"text": "a", "types": "person"}', 422, "ELQ566", "types"),
        (b'{"text": "a", "types": ["person", "spam"]}', 422, "ELQ237", "spam"),
        (b'{"text": "a", "ids": ["Q99"]}', 422, "ELQ210", "Q99"),
        (b'{"text": "a", "mentions": [{"start": 0, "end": 2}]}', 422, "ELQ566", "inside"),
        (b'{"texts": ["a"], "mentions": []}', 422, "ELQ566", "one list for each"),
        (b'{"text": "\\ud83c"}', 422, "ELQ566", "surrogate"),
        (json.dumps({"text": "a" * 2001}).encode(), 413, "ELQ565", "2001"),
        (json.dumps({"texts": ["a" * 1000] * 3}).encode(), 413, "ELQ565", "3000"),
        (json.dumps({"texts": ["a"] * 257}).encode(), 422, "ELQ566", "texts"),
        (b" " * 1_100_000, 413, "ELQ571", "bytes"),
    ],
)
def test_wrong_requests(client, body, status, code, said):
    answer = post(client, body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert said in answer.json()["message"]


def test_malformed_requests_do_no_harm(client):
    before = client.post("/link", json={"texts": [row["text"] for row in TEXTS]}).json()
    statuses = send_malformed(address(client), 100)
    assert set(statuses) >= {"200", "400", "413", "422", "404", "405"}
    after = client.post("/link", json={"texts": [row["text"] for row in TEXTS]}).json()
    assert before == after
    assert "ELQ575" not in client.get("/metrics").text


def test_slow_clients_are_let_go(serve, monkeypatch):
    from spacy_elq.serve import guard, process

    monkeypatch.setattr(process, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(guard.Guard.__init__, "__defaults__", (0.3,))
    client = serve()
    head = b"POST /link HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
    whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    began = time.monotonic()
    for sent, expected in ((b"", b""), (head, b""), (head + b"\r\n{", b"ELQ572")):
        with socket.create_connection(address(client), 10) as connection:
            connection.sendall(sent)
            answered = b"".join(iter(lambda: connection.recv(1 << 16), b""))  # until it is closed
            assert expected in answered and bool(expected) == bool(answered)
    with socket.create_connection(address(client), 10) as connection:
        connection.sendall(whole)
        assert b"200 OK" in connection.recv(1 << 16)
        connection.sendall(head)  # of the next request
        assert b"200" not in b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert time.monotonic() - began < 10
    assert client.get("/health").status_code == 200


def test_too_much_waits(client, monkeypatch):
    monkeypatch.setattr(client.service.batcher, "_room", 10)
    answer = client.post("/link", json={"text": "a" * 11})
    assert (answer.status_code, answer.json()["code"]) == (429, "ELQ573")
    assert answer.headers["Retry-After"]
    assert client.post("/link", json={"text": "a" * 9}).status_code == 200


def test_what_takes_too_long_is_given_up(client, monkeypatch):
    monkeypatch.setattr(client.service.batcher, "_timeout", 0.05)
    monkeypatch.setattr(client.service.batcher, "_link", lambda jobs: time.sleep(0.5) or [{}])
    answer = client.post("/link", json={"text": "a"})
    assert (answer.status_code, answer.json()["code"]) == (503, "ELQ574")


def test_the_log_has_no_text(client, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    for name in ("uvicorn", "spacy_elq.serve"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    client.post("/link", json={"text": SECRET})
    client.post("/link", json={"text": SECRET, "threshold": SECRET})
    client.get("/entities", params={"text": SECRET})
    client.get(f"/entities/{SECRET}")
    client.get(f"/{SECRET}")
    monkeypatch.setattr(client.service, "link", lambda request: int(request.text))
    assert client.post("/link", json={"text": SECRET}).json()["code"] == "ELQ575"
    lines = [r.getMessage() for r in caplog.records if not r.name.startswith("http")]  # clients
    assert any("POST /link 200" in line for line in lines)
    assert any("ValueError" in line for line in lines)
    assert not any(word in line for word in SECRET.split() for line in lines)


def test_metrics(client):
    before = client.get("/metrics").text
    client.post("/link", json={"texts": [row["text"] for row in TEXTS]})

    def value(text, name):
        return float(next(line.split()[-1] for line in text.splitlines() if line.startswith(name)))

    after = client.get("/metrics").text
    for name, more in (
        ("elq_texts_total", len(TEXTS)),
        ("elq_characters_total", sum(len(row["text"]) for row in TEXTS)),
        ("elq_batch_texts_count", 1),
        ('elq_requests_total{method="POST",path="/link",status="200"}', 1),
        ('elq_request_seconds_count{path="/link"}', 1),
    ):
        assert value(after, name) - value(before, name) == more, name
    assert value(after, "elq_links_total") > value(before, "elq_links_total")
    assert value(after, "elq_entities ") == 6


def test_ready_says_why_not(client, monkeypatch):
    assert client.get("/ready").status_code == 204

    def damaged():
        raise ElqError(Errors.ELQ105.format(name="elq"))

    monkeypatch.setattr(client.service.store, "view", damaged)
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()["code"]) == (503, "ELQ105")


def test_accepted_requests_are_answered_at_the_end(serve, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    client = serve()
    link = client.service.batcher._link

    def slowly(jobs):
        time.sleep(0.3)
        return link(jobs)

    monkeypatch.setattr(client.service.batcher, "_link", slowly)
    with ThreadPoolExecutor(8) as pool:
        answers = [
            pool.submit(client.post, "/link", json={"text": TEXTS[1]["text"]}) for _ in range(8)
        ]
        while client.service.batcher._queue.empty():
            time.sleep(0.01)
        client.server.should_exit = True
        assert [answer.result().status_code for answer in answers] == [200] * 8
    client.thread.join(30)
    with pytest.raises(Exception, match="refused"):
        client.get("/health")
