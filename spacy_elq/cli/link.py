"""`elq link`"""

from __future__ import annotations

import errno
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from ..entities.paths import stands_for_many
from ..errors import ElqError, Errors
from ..pipeline.loading import load_linker
from ._common import (
    BATCH_SIZE,
    MANY,
    GpuOption,
    MentionKindsOption,
    QuietOption,
    ThresholdOption,
    TopKOption,
    argument_text,
    count_texts,
    echo_note,
    handle_errors,
    is_same_file,
    require_elq,
    standard_stream,
)
from ._engines import local_path
from ._link_parts import BadLines, link_parts, made_with

if TYPE_CHECKING:
    from spacy.language import Language

    from ..bulk.workers import Workers
    from ..corpora.spans_jsonl import LinkedText

EXAMPLE = (
    "Examples: python -m spacy elq link training/model-best -i questions.jsonl -o linked.jsonl, "
    "or without any text, on a terminal: type questions"
)
STDIN = STDOUT = "-"
GO_ON = "Whole lines are kept in --output; run the same command again to resume."


@handle_errors(GO_ON)
def link_command(
    pipeline: Annotated[str, typer.Argument(help="Pipeline package or directory")],
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="Texts to link; - for standard input"),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            "-i",
            help="Texts: .jsonl(.gz), .txt; .csv, .tsv, .parquet with a column text; a directory "
            "or pattern of such files; - for standard input",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Spans JSONL, - for stdout; of many files, a directory; resumes an interrupted "
            "run",
        ),
    ] = None,
    threshold: ThresholdOption = None,
    top_k: TopKOption = None,
    mention_kinds: MentionKindsOption = None,
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size", "-b", min=1, max=MANY, help="Texts per batch; 1 answers line by line"
        ),
    ] = BATCH_SIZE,
    n_process: Annotated[
        int,
        typer.Option("--n-process", "-n", min=1, max=1024, help="Processes that share the cores"),
    ] = 1,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            help="ray: link the parts of --input on a Ray cluster (RAY_ADDRESS), or here",
        ),
    ] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "-O", help="Start the output over")
    ] = False,
    gpu_id: GpuOption = -1,
    quiet: QuietOption = False,
) -> None:
    """Link texts: arguments, a file, or standard input; on a terminal, texts as they are typed.
    Writes spans JSONL, one line per text, in the order and with the fields of the input. Of many
    files, each is linked into a file of its own."""
    if texts and source is not None:
        raise ElqError(Errors.ELQ423)
    if texts == [STDIN]:
        texts, source = None, Path(STDIN)
    if output is not None and source is not None and is_same_file(source, output):
        raise ElqError(Errors.ELQ429.format(path=output))
    bad = BadLines()
    options = {"threshold": threshold, "top_k": top_k, "mention_kinds": mention_kinds}
    if engine or (source is not None and stands_for_many(source)):
        from ..batch.parts import PartLinker

        work = PartLinker(local_path(pipeline), options, batch_size, gpu_id)
        link_parts(work, source, output, engine, n_process, bad, overwrite=overwrite, quiet=quiet)
        bad.exit_if_any()
        return
    rows = _read(texts, source, bad)
    load = partial(load_linker, pipeline, gpu_id, **options)
    nlp = load()
    from ..bulk.bad_lines import leave_out_long

    rows = leave_out_long(rows, nlp.max_length, bad)
    elq = require_elq(nlp, pipeline)
    gc.freeze()  # otherwise each full collection walks through everything loaded so far
    if output is not None and str(output) == STDOUT:
        output = None
    if _is_conversation(texts, source, output):
        from ._interactive import converse

        converse(nlp, elq)
        return
    from ..bulk.link import link_stream

    with _workers(load, n_process) as workers:
        link = partial(link_stream, nlp, rows, batch_size, workers=workers)
        if output is None:
            hidden = quiet or bool(texts) or bool(sys.stdout and sys.stdout.isatty())
            _write(link, standard_stream("stdout"), quiet=hidden)
        else:
            from ..bulk.resume import only_writer, open_output
            from ..files import naming

            with only_writer(output), naming(output):
                file, done = open_output(output, made_with(nlp, elq), rows, overwrite=overwrite)
                if done:
                    echo_note(f"{output}: {done} texts are linked already", quiet=quiet)
                with file:
                    done += _write(link, file, done=done, total=_count_lines(source), quiet=quiet)
            echo_note(f"{output}: {done} texts", quiet=quiet)
    bad.exit_if_any()


def _workers(load: Callable[[], Language], count: int) -> AbstractContextManager[Workers | None]:
    if count == 1:
        return nullcontext()
    from ..bulk.workers import Workers

    return Workers(load, count)


def _is_conversation(texts: list[str] | None, source: Path | None, output: Path | None) -> bool:
    given = texts or source is not None or output is not None
    return not given and all(each and each.isatty() for each in (sys.stdin, sys.stdout))


def _read(
    texts: list[str] | None, source: Path | None, on_bad: Callable[[ElqError], None]
) -> Iterator[LinkedText]:
    from ..corpora.input_texts import read_stdin, read_texts
    from ..corpora.spans_jsonl import LinkedText

    if texts:
        return iter([LinkedText(argument_text(text)) for text in texts])
    if source is None or str(source) == STDIN:
        return read_stdin(standard_stream("stdin"), on_bad)
    if not source.is_file():
        raise FileNotFoundError(errno.ENOENT, "No such file", str(source))
    return read_texts(source, on_bad)


def _count_lines(source: Path | None) -> int | None:
    """The number of texts in a file, for the progress bar; None if that takes reading it all."""
    if source is None or source.suffix not in (".jsonl", ".txt"):
        return None
    with source.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _write(
    link: Callable[..., Iterator[list[LinkedText]]],
    file: IO[bytes],
    *,
    done: int = 0,
    total: int | None = None,
    quiet: bool,
) -> int:
    """link (Callable): `link_stream` with all arguments but `on_linked`.
    RETURNS (int): The number of texts linked."""
    from ..corpora.spans_jsonl import jsonl_line

    with count_texts(done=done, total=total, quiet=quiet) as count:
        written = 0
        try:
            for chunk in link(on_linked=count):
                file.write(b"".join(map(jsonl_line, chunk)))
                file.flush()
                written += len(chunk)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{done + written} lines are written. {GO_ON}") from None
        return written
