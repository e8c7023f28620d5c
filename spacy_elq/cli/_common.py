"""What all commands share: exit codes, output streams, loading a pipeline.

Results go to stdout, everything else to stderr. Bad input ends a command with one line and exit
status 1, an interrupt with one line and 130.
"""

from __future__ import annotations

import errno
import io
import math
import os
import sqlite3
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, ParamSpec

import typer

from ..corpora.nif import WIKIDATA
from ..errors import ElqError, Errors, error_line, is_out_of_memory
from ..pace import AnyText
from ..pipeline.loading import load_pipeline, override_settings, require_elq, use_gpu

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

    from ..encoders.inference import InferenceSettings

# What the commands take from here; pipelines are loaded the same way elsewhere.
__all__ = ["error_line", "load_pipeline", "override_settings", "require_elq", "use_gpu"]

P = ParamSpec("P")

# Options that several commands take.
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes")]
# Far above what makes sense, far below what a C library takes for another number.
MANY = 1_000_000
GpuOption = Annotated[
    int, typer.Option("--gpu-id", "-g", min=-1, max=MANY, help="GPU to run on, -1 for the CPU")
]
EntityUriOption = Annotated[str, typer.Option(help="For nif: prefix of an entity's id")]
FormatOption = Annotated[
    str, typer.Option("--from", "-f", help="Format of DATA; default: by its name")
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(help="Joint log-score that a link must exceed; default: the pipeline's"),
]
TopKOption = Annotated[
    int | None, typer.Option("--top-k", "-k", max=MANY, help="Entities retrieved for a mention")
]
MentionKindsOption = Annotated[
    str | None,
    typer.Option(
        help="names, or all: in texts that use case, lower-case mentions too; default: the "
        "pipeline's"
    ),
]
ColumnsOption = Annotated[
    str,
    typer.Option(
        help="Columns of a CSV or TSV file whose first line does not name them: "
        "id,title,description"
    ),
]
INTERRUPTED = 130
# Number of unknown entities that a note names.
UNKNOWN_SHOWN = 3
# Texts per batch, if no option sets it: enough for the encoder to form large batches with little
# padding. With spaCy's default of 1000, all of their links would be in memory at once.
BATCH_SIZE = 256


def handle_errors(
    kept: str = "Nothing was written.",
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Make a function a well-behaved command.

    kept (str): The message about the output if the command is interrupted. If that depends on the
        progress, the command raises KeyboardInterrupt with a message of its own.
    RETURNS (Callable): The decorator.
    """

    def decorate(command: Callable[P, None]) -> Callable[P, None]:
        @wraps(command)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                _prepare_streams()
                _refuse_nan(kwargs)
                command(*args, **kwargs)
            except BrokenPipeError:
                raise  # click exits quietly when the reader of a pipe is gone
            except (ElqError, OSError, sqlite3.Error, MemoryError, RuntimeError) as err:
                if isinstance(err, RuntimeError) and not is_out_of_memory(err):
                    raise
                typer.echo(f"Error: {_coded(err)}", err=True)
                raise typer.Exit(1) from None
            except KeyboardInterrupt as err:
                typer.echo(f"\nInterrupted. {err.args[0] if err.args else kept}", err=True)
                raise typer.Exit(INTERRUPTED) from None

        return run

    return decorate


class _Closed(io.TextIOBase):
    """A standard output that was closed: what is written there would be lost."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")


def _prepare_streams() -> None:
    """Let nothing that is printed end the command: neither a character that the terminal's encoding
    lacks nor a closed stream."""
    sys.stdout = sys.stdout or _Closed()
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def standard_stream(name: Literal["stdin", "stdout"]) -> BinaryIO:
    """RETURNS (BinaryIO): Standard input or output, as bytes.
    RAISES (ElqError): If it is closed."""
    try:
        return typer.get_binary_stream(name)
    except RuntimeError:
        names = {"stdin": "standard input", "stdout": "standard output"}
        raise ElqError(Errors.ELQ434.format(name=names[name])) from None


def argument_text(text: str) -> str:
    """RETURNS (str): A text of the command line, which is UTF-8 whatever the locale says.
    RAISES (ElqError): If it is not."""
    try:
        return os.fsencode(text).decode()
    except UnicodeError:
        raise ElqError(Errors.ELQ432.format(text=text[:60])) from None


def column_names(option: str) -> list[str]:
    """RETURNS (list[str]): The columns that `--columns` names."""
    return argument_text(option).split(",") if option else []


def _refuse_nan(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if isinstance(value, float) and math.isnan(value):
            raise ElqError(Errors.ELQ122.format(name=name, value=value, expected="a number"))


def _coded(err: Exception) -> str:
    """RETURNS (str): A message with a code."""
    line = error_line(err)
    if isinstance(err, (MemoryError, RuntimeError)):
        return Errors.ELQ435.format(reason=line)
    if isinstance(err, sqlite3.Error):
        return Errors.ELQ450.format(reason=line)
    return f"{line}. {Errors.ELQ436}" if isinstance(err, OSError) else line


def echo_note(message: str, *, quiet: bool) -> None:
    """Print a message that is not a result, on stderr."""
    if not quiet:
        typer.echo(message, err=True)


def progress_bar(
    description: str, *, quiet: bool
) -> Callable[[Iterable[AnyText]], Iterator[AnyText]]:
    """RETURNS (Callable): Passes a stream of texts through, counting it in a bar on stderr."""

    def watch(texts: Iterable[AnyText]) -> Iterator[AnyText]:
        with count_texts(description, quiet=quiet) as count:
            for text in texts:
                count([text.text])
                yield text

    return watch


@contextmanager
def count_texts(
    description: str | None = None, *, done: int = 0, total: int | None = None, quiet: bool
) -> Iterator[Callable[[Collection[str]], None]]:
    """A bar on stderr that counts characters: a text may be a word or a book.

    done (int): Number of texts that an earlier run has done.
    total (int | None): Number of all texts, if it is known.
    YIELDS (Callable): Takes the texts that were just done.
    """
    from tqdm import tqdm

    of_total = "" if total is None else f"/{total}"
    with tqdm(desc=description, unit=" chars", unit_scale=True, disable=quiet, leave=False) as bar:

        def count(texts: Collection[str]) -> None:
            nonlocal done
            done += len(texts)
            bar.set_postfix_str(f"{done}{of_total} texts", refresh=False)
            bar.update(sum(map(len, texts)))

        yield count


@contextmanager
def count_bytes(description: str, *, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr for a file that is read.

    YIELDS (Callable): Takes the position in the file, its size, and what to say beside.
    """
    from tqdm import tqdm

    with tqdm(desc=description, unit="B", unit_scale=True, disable=quiet, leave=False) as bar:

        def count(position: int, size: int, said: str) -> None:
            bar.total = size or None
            bar.set_postfix_str(said, refresh=False)
            bar.update(position - bar.n)

        yield count


def read_gold_docs(
    path: Path, nlp: Language, read_as: str = "", entity_uri: str = WIKIDATA
) -> list[Doc]:
    """Read an evaluation set.

    path (Path): A file in any format of `elq convert`.
    nlp (Language): The pipeline whose tokenizer is used.
    read_as (str): Its format; if empty, by its suffix.
    entity_uri (str): Prefix of an entity's id in NIF.
    RETURNS (list[Doc]): Gold documents.
    RAISES (ElqError): If there are none.
    """
    from ..corpora.convert import read_any
    from ..corpora.spans_jsonl import docs_from_texts

    texts = read_any(path, nlp, read_as=read_as, entity_uri=entity_uri)
    docs = list(docs_from_texts(nlp, texts))
    if not docs:
        raise ElqError(Errors.ELQ406.format(path=path))
    return docs


def note_unknown_entities(
    elq: Any | None, references: Iterable[Doc], name: str, *, quiet: bool
) -> None:
    """Report gold entities that a linker can't find because its knowledge base lacks them."""
    from ..gold import gold_spans
    from ..pipeline.lookup import knows

    is_known = knows(elq)
    if is_known is None:
        return
    gold = dict.fromkeys(span.kb_id_ for doc in references for span in gold_spans(doc))
    unknown = [id_ for id_ in gold if not is_known(id_)]
    if unknown:
        some = ", ".join(unknown[:UNKNOWN_SHOWN]) + (", …" if unknown[UNKNOWN_SHOWN:] else "")
        what = f"{len(unknown)} of {len(gold)} gold entities are not in the knowledge base: {some}"
        echo_note(f"{name}: {what}", quiet=quiet)


def inference_settings(backend: str, precision: str) -> InferenceSettings:
    """RETURNS (InferenceSettings): What two options say.
    RAISES (ElqError): If a value is not allowed, or what the backend needs is not installed."""
    from ..encoders.inference import ONNX, InferenceSettings
    from ..encoders.onnx_graph import check_installed

    wanted: dict[str, Any] = {"backend": backend, "precision": precision}
    settings = InferenceSettings(**wanted)
    if settings.backend == ONNX:
        check_installed()
    return settings


def is_same_file(one: Path, other: Path) -> bool:
    """RETURNS (bool): Whether two paths name the same existing file."""
    return one.exists() and other.exists() and one.samefile(other)


def refuse_to_overwrite(output: Path, inputs: Iterable[Path | None]) -> None:
    """Raise an ElqError if an output would overwrite one of the inputs."""
    if any(path is not None and is_same_file(path, output) for path in inputs):
        raise ElqError(Errors.ELQ446.format(path=output))


def dataset_names(paths: Iterable[Path]) -> list[str]:
    """RETURNS (list[str]): A short name for each data file; whole paths if names clash."""
    chosen = list(paths)
    names = [path.name for path in chosen]
    return names if len(set(names)) == len(names) else [str(path) for path in chosen]
