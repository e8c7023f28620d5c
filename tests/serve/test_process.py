"""`elq serve` as a command: what it refuses to begin with, workers, signals."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from spacy_elq.errors import ElqError, Errors

from ..helpers import TEXTS, run
from .hardship import kill_writers

httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn")

TOKEN = "0123456789abcdef"


def refusal(*args):
    result = run("serve", *args)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: [ELQ") and result.stderr.count("\n") == 1
    return result.stderr[len("Error: [") :][:6]


def test_a_port_in_use(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert refusal(tmp_path, "--port", taken.getsockname()[1]) == "ELQ561"


@pytest.mark.parametrize("host", ["no such host", "256.1.1.1", "192.0.2.1"])
def test_a_host_that_is_not_this_machine(tmp_path, host):
    assert refusal(tmp_path, "--host", host, "--port", 0, "--read-only") == "ELQ561"


def test_answers_do_not_wait_for_acknowledgements():
    """asyncio sets TCP_NODELAY only for sockets that tell their protocol."""
    from spacy_elq.serve.options import ServeOptions
    from spacy_elq.serve.process import listen

    with listen("127.0.0.1", 0, ServeOptions()) as bound:
        assert bound.proto == socket.IPPROTO_TCP


def test_a_missing_pipeline(tmp_path):
    assert refusal(tmp_path / "nothing", "--port", 0) == "ELQ401"


def test_a_missing_extra(tmp_path, monkeypatch):
    from spacy_elq.cli import serve

    monkeypatch.setattr(serve, "PACKAGES", ("fastapi", "no_such_package"))
    assert refusal(tmp_path) == "ELQ560"


def test_beyond_this_machine_changes_need_a_token(tmp_path):
    assert refusal(tmp_path, "--host", "0.0.0.0", "--port", 0) == "ELQ564"
    assert refusal(tmp_path, "--host", "0.0.0.0", "--port", 0, "--read-only") == "ELQ401"


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
@pytest.mark.parametrize(
    ("content", "mode", "code"),
    [
        (TOKEN, 0o644, "ELQ562"),
        (TOKEN, 0o640, "ELQ562"),
        ("short", 0o600, "ELQ563"),
        ("two words are no token", 0o600, "ELQ563"),
        ("ü" * 20, 0o600, "ELQ563"),
        (f"{TOKEN}\n", 0o600, "ELQ401"),  # the token is fine, the pipeline is missing
    ],
)
def test_token_files(tmp_path, content, mode, code):
    path = tmp_path / "token"
    path.write_text(content, encoding="utf8")
    path.chmod(mode)
    assert refusal(tmp_path / "nothing", "--port", 0, "--token-file", path) == code


def test_a_missing_token_file(tmp_path):
    result = run("serve", tmp_path, "--token-file", tmp_path / "nothing")
    assert result.exit_code == 1 and "ELQ436" in result.stderr


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return bound.getsockname()[1]


def wait_until_ready(port, is_alive=lambda: True):
    for _ in range(3000):
        assert is_alive()
        try:
            if httpx.get(f"http://127.0.0.1:{port}/ready", trust_env=False).status_code == 204:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise TimeoutError


def _serve(path, port):
    """Runs in a forked process, which need not import everything again."""
    from spacy_elq.cli.serve import serve_command

    serve_command(str(path), port=port, quiet=True)


def start_fork(path):
    """RETURNS (tuple[Process, int]): A service that is ready, and its port."""
    port = free_port()
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=_serve, args=(path, port), daemon=True)
    process.start()
    wait_until_ready(port, process.is_alive)
    return process, port


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_nothing_answered_is_lost_by_a_kill(trained_path, tmp_path):
    path = shutil.copytree(trained_path, tmp_path / "pipeline")
    counts = kill_writers(path, partial(start_fork, path), kills=2)
    assert counts["kills"] == 2 and counts["changes"]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="signals")
def test_workers(trained_path, tmp_path):
    path = shutil.copytree(trained_path, tmp_path / "pipeline")
    port = free_port()
    command = [sys.executable, "-m", "spacy", "elq", "serve", path, "--workers", 2]
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen([*map(str, command), "--port", str(port)], stderr=log)
    try:
        wait_until_ready(port, lambda: process.poll() is None)
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            assert client.put("/entities/X1", json={"title": "Ken"}).status_code == 201

        def ask(_):  # each with a connection of its own, to whichever worker takes it
            found = httpx.get(f"{url}/entities/X1", trust_env=False).status_code
            body = {"text": TEXTS[1]["text"]}
            answer = httpx.post(f"{url}/link", json=body, trust_env=False, timeout=60)
            return found, answer.status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, range(30))) == {(200, 200)}
        counted = httpx.get(f"{url}/metrics", trust_env=False).text
        assert "elq_texts_total 30.0" in counted
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)
        log.seek(0)
        assert "Traceback" not in log.read()
    finally:
        process.kill()


def test_workers_that_can_not_begin(tmp_path):
    from uvicorn.config import STARTUP_FAILURE

    from spacy_elq.serve.options import ServeOptions
    from spacy_elq.serve.process import _load_app

    assert refusal(tmp_path / "nothing", "--port", 0, "--workers", 2) == "ELQ401"

    def fail():
        raise ElqError(Errors.ELQ403.format(name="it"))

    with pytest.raises(SystemExit) as ended:  # what tells uvicorn not to start it again
        _load_app(fail, ServeOptions(), 1)
    assert ended.value.code == STARTUP_FAILURE


def test_the_package_has_the_page():
    page = Path(__file__).parents[2] / "spacy_elq" / "serve" / "page"
    assert {path.suffix for path in page.iterdir()} == {".html", ".css", ".js"}
    for path in page.iterdir():
        text = path.read_text(encoding="utf8")
        assert "http://" not in text and "https://" not in text, path
        assert "innerHTML" not in text and "<script>" not in text, path
