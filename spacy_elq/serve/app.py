"""The routes of the service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic_core import to_json
from spacy.language import Language
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

from ..about import __version__
from ..errors import ElqError, Errors
from ..linking.decoding import JOINT
from .access import check_change
from .batching import Batcher
from .entities import EntityStore
from .guard import Guard
from .linking import TextLinker, jobs_of
from .metrics import Metrics
from .options import ServeOptions
from .refusals import Refused, answer_errors
from .schemas import (
    MAX_FOUND,
    MAX_NAME,
    EntityAnswer,
    EntityBody,
    ErrorAnswer,
    FoundAnswer,
    HealthAnswer,
    LinkRequest,
    LinksAnswer,
)

PAGE = Path(__file__).parent / "page"
DESCRIPTION = "Finds the mentions of a text and links each to an entity of a knowledge base."
Name = Annotated[str | None, Query(max_length=MAX_NAME)]
Limit = Annotated[int, Query(ge=1, le=MAX_FOUND)]
ERRORS: dict[int | str, dict[str, Any]] = {"4XX": {"model": ErrorAnswer}}


class Service:
    """A pipeline with what serves it.

    nlp (Language): The pipeline.
    elq (ElqLinker): Its linker.
    options (ServeOptions): What is allowed.
    """

    def __init__(self, nlp: Language, elq: Any, options: ServeOptions) -> None:
        self.nlp = nlp
        self.elq = elq
        self.options = options
        self.metrics = Metrics()
        self.store = EntityStore(elq)
        self.max_chars = min(options.max_chars, nlp.max_length)
        self.batcher = Batcher(TextLinker(nlp, elq), self.max_chars, self.metrics.count_batch)

    async def link(self, request: LinkRequest) -> bytes:
        """RETURNS (bytes): A `LinksAnswer` as JSON."""
        length = sum(map(len, request.all_texts))
        if length > self.max_chars:
            raise Refused(413, Errors.ELQ565.format(length=length, most=self.max_chars))
        results = await self.batcher.link(jobs_of(request))
        self.metrics.chars.inc(length)
        self.metrics.links.inc(sum(len(result["links"]) for result in results))
        return to_json({"results": results}, inf_nan_mode="null")

    def health(self) -> HealthAnswer:
        """RETURNS (HealthAnswer): What runs here."""
        settings, meta = self.elq.settings, self.nlp.meta
        return HealthAnswer(
            status="ok",
            version=__version__,
            pipeline=f"{meta['lang']}_{meta['name']} {meta['version']}",
            entities=len(self.store.view()),
            threshold=settings.threshold if settings.threshold_type == JOINT else None,
            writable=not self.options.read_only and self.store.is_writable,
            needs_token=self.options.token is not None,
            max_chars=self.max_chars,
        )

    def export_metrics(self) -> bytes:
        """RETURNS (bytes): The metrics, for Prometheus."""
        self.metrics.entities.set(len(self.store.view()))
        return self.metrics.export()


def make_app(service: Service) -> FastAPI:
    """RETURNS (FastAPI): The service as an app."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.batcher.start()
        yield
        await service.batcher.stop()

    app = FastAPI(
        title="spacy-elq",
        description=DESCRIPTION,
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page loads files from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        responses=ERRORS,
    )
    answer_errors(app)
    _add_pages(app)
    _add_linking(app, service)
    _add_entities(app, service)
    _add_operations(app, service)
    app.add_middleware(Guard, max_chars=service.max_chars, count=service.metrics.count_request)
    return app


def _add_pages(app: FastAPI) -> None:
    app.mount("/page", StaticFiles(directory=PAGE), name="page")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    def docs() -> FileResponse:
        return FileResponse(PAGE / "docs.html")


def _add_linking(app: FastAPI, service: Service) -> None:
    @app.post("/link", responses={200: {"model": LinksAnswer}})
    async def link(request: LinkRequest) -> Response:
        """Find mentions and link them."""
        return Response(await service.link(request), media_type="application/json")


def _add_entities(app: FastAPI, service: Service) -> None:
    store, call = service.store, service.batcher.call

    @app.get("/entities", responses={200: {"model": FoundAnswer}})
    async def find(name: Name = None, text: Name = None, limit: Limit = 10) -> Response:
        """The entities that have a name; or, for a text, those and then the nearest by vector."""
        if (name is None) == (text is None):
            raise Refused(422, Errors.ELQ566.format(where="query", problem="give name or text"))
        if name is not None:
            found = await run_in_threadpool(store.named, name, limit)
        else:
            found = await call(store.search, text or "", limit)
        return _json({"entities": found})

    @app.get("/entities/{id:path}", responses={200: {"model": EntityAnswer}})
    def get(id: str) -> Response:
        """One entity."""
        return _json(store.get(id))

    @app.put("/entities/{id:path}", responses={200: {"model": EntityAnswer}})
    async def put(id: str, body: EntityBody, request: Request) -> Response:
        """Add an entity, or replace it. It is on disk when this is answered."""
        check_change(request, service.options)
        record, is_new = await call(store.put, id, body.model_dump(exclude_unset=True))
        return _json(record, 201 if is_new else 200)

    @app.delete("/entities/{id:path}", status_code=204)
    async def delete(id: str, request: Request) -> Response:
        """Remove an entity. It is gone from the disk when this is answered."""
        check_change(request, service.options)
        await call(store.remove, id)
        return Response(status_code=204)


def _add_operations(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    def health() -> HealthAnswer:
        """Whether this runs, and what it is."""
        return service.health()

    @app.get("/ready", status_code=204)
    async def ready() -> Response:
        """Whether texts can be linked now: 503 if not."""
        try:
            await service.batcher.call(service.store.view)
        except (ElqError, OSError) as error:
            raise Refused(503, str(error)) from None
        return Response(status_code=204)

    @app.get("/metrics")
    def metrics() -> Response:
        """Counts and times, for Prometheus."""
        return Response(service.export_metrics(), media_type="text/plain; version=0.0.4")


def _json(value: Any, status: int = 200) -> Response:
    return Response(to_json(value, inf_nan_mode="null"), status, media_type="application/json")
