"""What a service has to bear: malformed requests, and kills while it writes. Linux only.

`send_malformed` sends requests that no client should send, `kill_writers` ends services by SIGKILL
while entities are written. Each returns its counts and raises an AssertionError at the first answer
that is wrong. The tests run these for seconds, `benchmarks/serve.py` for as long as you like.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from spacy.vocab import Vocab

from spacy_elq.kb.check import check_files
from spacy_elq.kb.knowledge_base import FaissKB

TEXTS = ("is paris near georgia", "", " ", "\0", "🏀" * 50, "\u05e9\u05dc\u05d5\u05dd", "a" * 500)
FIELDS = ("text", "texts", "threshold", "floor", "top_k", "mention_kinds", "types", "ids")
FIELDS += ("mentions", "explain", "no such field")
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW")
PATHS = ("/link", "/entities", "/entities/Q1", "/entities/%00%ff%2f", "/entities?text=%ff&limit=x")
PATHS += (
    "/",
    "/docs",
    "/page/../../app.py",
    "/page/%2e%2e%2fapp.py",
    "/health?x=" + "y" * 999,
    "/%",
)
# Seconds to wait for an answer to a request that was not sent whole.
IMPATIENCE = 0.05


def send_malformed(address: tuple[str, int], count: int, seed: int = 0) -> Counter[str]:
    """RETURNS (Counter[str]): How often each status was answered; "closed" for no answer."""
    rng, statuses = random.Random(seed), Counter[str]()
    for number in range(count):
        request, is_whole = _request(rng)
        status = _send(address, request, 30 if is_whole else IMPATIENCE)
        assert not status.startswith("5"), f"{number}: {status} for {request[:300]!r}"
        statuses[status] += 1
    return statuses


def _send(address: tuple[str, int], request: bytes, seconds: float) -> str:
    with socket.create_connection(address, 30) as connection:
        connection.settimeout(seconds)
        try:
            connection.sendall(request)
            head = connection.recv(1 << 16)
        except OSError:  # closed, or not answered: more was to come
            return "closed"
    return head[9:12].decode("ascii", "replace") if head.startswith(b"HTTP/1.1 ") else "closed"


def _request(rng: random.Random) -> tuple[bytes, bool]:
    """RETURNS (tuple[bytes, bool]): A request, and whether it is to be answered at once."""
    kind = rng.randrange(12)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 300)), False
    if kind == 1:  # a slow client, who never ends
        whole = _http("POST", "/link", _json(rng))
        return whole[: rng.randrange(1, len(whole))], False
    if kind == 2:
        return _http(
            "POST", "/link", b"x", [("Content-Length", str(10 ** rng.randrange(7, 30)))]
        ), True
    if kind == 3:
        return _http("GET", "/health", b"", [("X", "y" * rng.choice((9000, 90000)))]), False
    if kind == 4:
        chunked = [("Transfer-Encoding", "chunked"), ("Content-Type", "application/json")]
        chunks = rng.choice((b"5\r\n{}\r\n", b"zz\r\n", b"2\r\n{}\r\n0\r\n\r\n", b"0\r\n\r\n"))
        return _http("POST", "/link", chunks, chunked), False
    if kind == 5:
        return _http(rng.choice(METHODS), rng.choice(PATHS), b""), True
    if kind == 6:
        type_ = rng.choice(
            ("text/plain", "application/xml", "multipart/form-data", "a/b; charset=x")
        )
        return _http("POST", "/link", _json(rng), [("Content-Type", type_)]), True
    if kind == 7:
        record = {"title": _value(rng, 2), "aliases": _value(rng, 2), "id": _value(rng, 1)}
        return _http("PUT", "/entities/Q1", json.dumps(record).encode()), True
    body = _json(rng)
    if kind == 8:
        body = body[: rng.randrange(len(body))]
    if kind == 9:
        body = bytes(rng.choice((byte, rng.randrange(256))) for byte in body)
    return _http("POST", "/link", body), True


def _http(
    method: str, path: str, body: bytes, headers: list[tuple[str, str]] | None = None
) -> bytes:
    usual = {"Host": "localhost", "Connection": "close", "Content-Type": "application/json"}
    usual |= {"Content-Length": str(len(body))}
    own = dict(headers or ())
    if "Transfer-Encoding" in own:
        del usual["Content-Length"]
    lines = [f"{method} {path} HTTP/1.1", *(f"{n}: {v}" for n, v in {**usual, **own}.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _json(rng: random.Random) -> bytes:
    if rng.random() < 0.1:
        return rng.choice(
            (
                b"[" * 100_000,
                b'{"text":' * 5000,
                b'{"text": "\\ud83c"}',
                b'{"text": "a", "top_k": ' + b"9" * 5000 + b"}",
                b'{"text": "a", "threshold": 1e999}',
                b'{"text": "a", "text": ["b"]}',
                b'{"texts": [' + b'"a",' * 300 + b'"a"]}',
                b'{"text": "' + b"a" * 150_000 + b'"}',
                b"null",
                b"\xff\xfe{\x00}\x00",
            )
        )
    body: Any = {name: _value(rng, 2) for name in rng.sample(FIELDS, rng.randrange(1, 5))}
    if rng.random() < 0.5:
        body["text"] = rng.choice(TEXTS)
    return json.dumps(body).encode()


def _value(rng: random.Random, depth: int) -> Any:
    plain = (None, True, 0, -1, 10**20, 1.5, -1e308, float("nan"), float("-inf"), *TEXTS)
    names = ("person", "Q1", "find", "names", "\ud800")
    if depth == 0 or rng.random() < 0.6:
        return rng.choice((*plain, *names))
    if rng.random() < 0.5:
        return [_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    keys = ("start", "end", "name", "count", "id")
    return {rng.choice(keys): rng.choice((_value(rng, depth - 1), rng.randrange(20)))}


class Process(Protocol):
    """A service in a process of its own."""

    def kill(self) -> None: ...


def kill_writers(
    pipeline: Path, start: Callable[[], tuple[Process, int]], kills: int, seed: int = 0
) -> Counter[str]:
    """Kill services while entities are added and removed; nothing that was answered may be lost.

    pipeline (Path): Its knowledge base is inside.
    start (Callable): Starts a service of it, and returns its process and port when it is ready.
    RETURNS (Counter[str]): Numbers of kills, and of changes that were answered.
    """
    rng, done, known = random.Random(seed), Counter[str](), dict[str, str | None]()
    for number in range(kills):
        process, port = start()
        writer = _Writer(port, number, known)
        writer.start()
        time.sleep(rng.uniform(0.05, 1.5))
        process.kill()
        writer.join()
        done["kills"] += 1
        done["changes"] += writer.answered
        known.update(writer.known)
        kb = FaissKB.open(pipeline / "elq" / "kb", Vocab())
        check_files(kb)
        for id_, title in known.items():
            entity = kb.entity(id_)
            found = None if entity is None else entity.title
            # What was asked for when the service was killed may have been done or not.
            assert found == title or id_ == writer.asked, f"{id_}: {found!r}, not {title!r}"
            known[id_] = found
    return done


class _Writer(threading.Thread):
    """Adds, replaces and removes entities as fast as they are answered, until nobody answers.

    known (dict): Title of each entity as answered; None if it was removed.
    asked (str): The entity whose change was not answered.
    """

    def __init__(self, port: int, number: int, known: dict[str, str | None]) -> None:
        super().__init__()
        self.port, self.rng, self.number = port, random.Random(number), number
        self.known, self.asked, self.answered = dict(known), "", 0

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while True:
            self.asked = f"K{self.rng.randrange(30)}"
            title = f"Title {self.number} {self.answered}"
            remove = self.known.get(self.asked) is not None and self.rng.random() < 0.3
            try:
                status = self._ask(connection, remove, title)
            except (OSError, http.client.HTTPException):
                return
            assert status in (200, 201, 204), status
            self.known[self.asked] = None if remove else title
            self.answered += 1

    def _ask(self, connection: http.client.HTTPConnection, remove: bool, title: str) -> int:
        body = None if remove else json.dumps({"title": title})
        headers = {"Content-Type": "application/json"}
        method = "DELETE" if remove else "PUT"
        connection.request(method, f"/entities/{self.asked}", body, headers)
        response = connection.getresponse()
        response.read()
        return response.status
