"""`elq link`"""

from __future__ import annotations

import errno
import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from ..about import __version__
from ..errors import ElqError, Errors
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
    error_line,
    handle_errors,
    is_same_file,
    load_pipeline,
    override_settings,
    require_elq,
    standard_stream,
)

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
            "--input", "-i", help="Texts: .jsonl(.gz), .txt, .csv or .tsv with a column text, or -"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Spans JSONL, - for stdout; resumes an interrupted run"
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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "-O", help="Start the output over")
    ] = False,
    gpu_id: GpuOption = -1,
    quiet: QuietOption = False,
) -> None:
    """Link texts: arguments, a file, or standard input; on a terminal, texts as they are typed.
    Writes spans JSONL, one line per text, in the order and with the fields of the input."""
    if texts and source is not None:
        raise ElqError(Errors.ELQ423)
    if texts == [STDIN]:
        texts, source = None, Path(STDIN)
    if output is not None and source is not None and is_same_file(source, output):
        raise ElqError(Errors.ELQ429.format(path=output))
    bad = _BadLines()
    rows = _read(texts, source, bad)
    options = {"threshold": threshold, "top_k": top_k, "mention_kinds": mention_kinds}
    load = partial(_load, pipeline, gpu_id, options)
    nlp = load()
    rows = bad.leave_out_long(rows, nlp.max_length)
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
            from ..bulk.resume import open_output
            from ..files import naming

            file, done = open_output(output, _made_with(nlp, elq), rows, overwrite=overwrite)
            if done:
                echo_note(f"{output}: {done} texts are linked already", quiet=quiet)
            with naming(output), file:
                done += _write(link, file, done=done, total=_count_lines(source), quiet=quiet)
            echo_note(f"{output}: {done} texts", quiet=quiet)
    bad.exit_if_any()


class _BadLines:
    """Reports the lines of the input that are not texts, and leaves them out."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: ElqError) -> None:
        self.count += 1
        typer.echo(f"Left out: {error_line(error)}", err=True)

    def leave_out_long(self, texts: Iterable[LinkedText], most: int) -> Iterator[LinkedText]:
        """YIELDS (LinkedText): The texts that a pipeline can read."""
        from ..corpora.spans_jsonl import check_text

        for text in texts:
            try:
                check_text(text.text, most)
            except ElqError as err:
                self(err)
            else:
                yield text

    def exit_if_any(self) -> None:
        """End the command with status 1 if there were any."""
        if self.count:
            typer.echo(f"{self.count} lines of the input were left out.", err=True)
            raise typer.Exit(1)


def _load(pipeline: str, gpu_id: int, options: dict[str, Any]) -> Language:
    nlp = load_pipeline(pipeline, gpu_id)
    override_settings(require_elq(nlp, pipeline), **options)
    return nlp


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


def _made_with(nlp: Language, elq: Any) -> dict[str, Any]:
    """What determines the output, apart from the input."""
    from ..bulk.resume import hash_directory

    made_with = {name: value for name, value in elq.cfg.items() if name != "seen_ids"}
    if elq.kb_path is not None:  # outside the pipeline's directory
        made_with["kb"] = hash_directory(Path(elq.kb_path))
    return {"spacy_elq": __version__, "pipeline": hash_directory(nlp.path), **made_with}


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
