"""`elq serve`"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ElqError, Errors
from ._common import (
    MANY,
    GpuOption,
    QuietOption,
    echo_note,
    handle_errors,
    load_pipeline,
    require_elq,
)

if TYPE_CHECKING:
    from spacy.language import Language

EXAMPLE = "Example: python -m spacy elq serve my_linker, then open http://127.0.0.1:8080"
PACKAGES = ("fastapi", "uvicorn", "prometheus_client")


@handle_errors("The service has stopped.")
def serve_command(
    pipeline: Annotated[str, typer.Argument(help="Pipeline package or directory")],
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one")] = 8080,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Refuse to change the knowledge base")
    ] = False,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that changes need")
    ] = None,
    max_chars: Annotated[
        int, typer.Option(min=1, max=MANY, help="Characters of all texts of a request")
    ] = 100_000,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes, each with its own pipeline")
    ] = 1,
    gpu_id: GpuOption = -1,
    quiet: QuietOption = False,
) -> None:
    """Serve a pipeline over HTTP, with a page to try it. See /docs there."""
    _check_installed()
    from ..serve.options import ServeOptions, read_token
    from ..serve.process import address_of, listen, serve, serve_from_workers

    token = None if token_file is None else read_token(token_file)
    options = ServeOptions(read_only=read_only, token=token, max_chars=max_chars)
    bound = listen(host, port, options)
    load = partial(_load, pipeline, gpu_id)
    begin = f"{address_of(bound)}: {pipeline}; Ctrl-C stops it"
    if workers == 1:
        nlp = load()
        echo_note(begin, quiet=quiet)
        serve(bound, nlp, options, quiet=quiet)
        return
    _check_exists(pipeline)  # each worker loads it, and says what else is wrong
    echo_note(begin, quiet=quiet)
    if not serve_from_workers(bound, load, options, workers, quiet=quiet):
        raise typer.Exit(1)


def _load(pipeline: str, gpu_id: int) -> Language:
    nlp = load_pipeline(pipeline, gpu_id)
    require_elq(nlp, pipeline)
    return nlp


def _check_exists(pipeline: str) -> None:
    from spacy.util import is_package

    if not is_package(pipeline) and not Path(pipeline, "config.cfg").is_file():
        reason = "there is no such package, and no directory with a config.cfg"
        raise ElqError(Errors.ELQ401.format(name=pipeline, reason=reason))


def _check_installed() -> None:
    from importlib.util import find_spec

    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ElqError(Errors.ELQ560.format(missing=", ".join(missing)))
