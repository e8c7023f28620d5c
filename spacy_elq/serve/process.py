"""The processes of a service: its socket, its workers, its bounds on connections."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from spacy.language import Language
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors import Multiprocess

from ..errors import ElqError, Errors
from ..pipeline.lookup import find_elq
from .access import is_loopback
from .metrics import MULTIPROCESS
from .options import ServeOptions

# Makes the pipeline, in each worker; raises an ElqError if it can't.
Load = Callable[[], Language]
log = logging.getLogger("spacy_elq.serve")

# Seconds in which the head of a request must arrive; for which an idle connection stays open; for
# which accepted requests are answered after the signal to stop.
HEAD_SECONDS = 15.0
IDLE_SECONDS = 30
STOP_SECONDS = 60
# Seconds after which a worker that does not answer is replaced: it imports torch before it does.
START_SECONDS = 120
MAX_CONNECTIONS = 1000
BACKLOG = 512


class BoundedH11(H11Protocol):
    """HTTP, with a bound on how long the head of a request takes: uvicorn has none."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._late.cancel()
        elif self._late.cancelled():  # the next request began
            self._late = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.cancel()
        super().connection_lost(exc)


def listen(host: str, port: int, options: ServeOptions) -> socket.socket:
    """RETURNS (socket): Bound, not yet listening: who connects before the pipeline is loaded is
    refused.
    RAISES (ElqError): If the address is not free, or can be reached from elsewhere and changes
        would need no token."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        family, kind, protocol, _, address = found
        # With its protocol: asyncio turns Nagle's algorithm off only where the socket tells that it
        # is TCP. Otherwise, answers wait 40 ms for the client's acknowledgement.
        bound = socket.socket(family, kind, protocol)
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, UnicodeError, OverflowError) as err:
        reason = getattr(err, "strerror", None) or err
        raise ElqError(Errors.ELQ561.format(host=host, port=port, reason=reason)) from None
    open_to_all = not is_loopback(str(address[0]))
    if open_to_all and not options.read_only and options.token is None:
        bound.close()
        raise ElqError(Errors.ELQ564.format(host=host))
    bound.set_inheritable(True)
    return bound


def address_of(bound: socket.socket) -> str:
    """RETURNS (str): The address of the page."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(bound: socket.socket, nlp: Language, options: ServeOptions, *, quiet: bool) -> None:
    """Serve a pipeline from this process, until a signal to stop it."""
    config = make_config(partial(_app, nlp, options), 1, quiet=quiet)
    uvicorn.Server(config).run([bound])


def serve_from_workers(
    bound: socket.socket, load: Load, options: ServeOptions, workers: int, *, quiet: bool
) -> bool:
    """Serve from several processes, each with a pipeline of its own. One that dies is replaced.

    RETURNS (bool): Whether they could be started.
    """
    with tempfile.TemporaryDirectory(prefix="spacy-elq-metrics-") as counts:
        os.environ[MULTIPROCESS] = counts
        make = partial(_load_app, load, options, workers)
        config = make_config(make, workers, quiet=quiet)
        supervisor = Multiprocess(config, [bound])
        supervisor.run()
    return all(process.exitcode != STARTUP_FAILURE for process in supervisor.processes)


def make_config(make: Callable[[], FastAPI], workers: int, *, quiet: bool) -> uvicorn.Config:
    """RETURNS (Config): How uvicorn serves an app: its bounds, and what it logs."""
    return uvicorn.Config(
        make,
        factory=True,
        http=BoundedH11,
        ws="none",
        workers=workers,
        log_config=_log_config(quiet=quiet),
        access_log=False,  # it has addresses, and with them texts
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_worker_healthcheck=START_SECONDS,
    )


def _log_config(*, quiet: bool) -> dict[str, Any]:
    level = "WARNING" if quiet else "INFO"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {
            "spacy_elq.serve": {"handlers": ["stderr"], "level": level, "propagate": False},
            "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        },
    }


def _app(nlp: Language, options: ServeOptions) -> FastAPI:
    from .app import Service, make_app

    elq = find_elq(nlp)
    service = Service(nlp, elq, options)
    _warm_up(service)
    gc.collect()
    gc.freeze()  # otherwise each full collection walks through everything loaded so far
    return make_app(service)


def _load_app(load: Load, options: ServeOptions, workers: int) -> FastAPI:
    """Runs in a worker."""
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    try:
        return _app(load(), options)
    except (ElqError, OSError) as err:
        log.error("%s", err)
        sys.exit(STARTUP_FAILURE)  # tells the parent not to try again


def _warm_up(service: Any) -> None:
    """Open what is opened at first use, so that its errors come before the first request."""
    service.nlp("Hello")
