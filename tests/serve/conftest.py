"""A service that runs in a thread of this process, with its own copy of a tiny pipeline."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import spacy

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx")

Serve = Callable[..., Any]


@contextmanager
def serving(path: Path, **options: Any) -> Iterator[Any]:
    """YIELDS (httpx.Client): Asks a service of the pipeline at a path. Its `service` is what runs,
    its `server` uvicorn's."""
    import uvicorn

    from spacy_elq.pipeline.lookup import find_elq
    from spacy_elq.serve.app import Service, make_app
    from spacy_elq.serve.options import ServeOptions
    from spacy_elq.serve.process import address_of, listen, make_config

    allowed = ServeOptions(**options)
    nlp = spacy.load(path)
    service = Service(nlp, find_elq(nlp), allowed)
    bound = listen("127.0.0.1", 0, allowed)
    bound.listen()  # connections wait until it runs
    server = uvicorn.Server(make_config(lambda: make_app(service), 1, quiet=False))
    thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
    address = address_of(bound)
    thread.start()
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        client.service, client.server, client.thread = service, server, thread
        yield client
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


@pytest.fixture
def serve(trained_path: Path, tmp_path: Path) -> Iterator[Serve]:
    """Starts services of one pipeline, which belongs to the test."""
    from contextlib import ExitStack

    path = shutil.copytree(trained_path, tmp_path / "pipeline")
    with ExitStack() as stack:

        def start(**options: Any) -> Any:
            return stack.enter_context(serving(path, **options))

        start.path = path
        yield start


@pytest.fixture(scope="module")
def client(trained_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Asks a service that the tests of a module share, and that changes nothing."""
    path = shutil.copytree(trained_path, tmp_path_factory.mktemp("served") / "pipeline")
    with serving(path, read_only=True, max_chars=2000) as client:
        yield client
