"""What the commands that read dumps have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ElqError, Errors
from ._common import count_bytes, echo_note

if TYPE_CHECKING:
    from ..dumps.parts import DumpManifest

DumpArgument = Annotated[
    Path, typer.Argument(metavar="DUMP", help="Dump: .bz2, .gz, .zst, .xz or plain")
]
OutArgument = Annotated[Path, typer.Argument(metavar="OUT", help="Directory to write")]
FormatOption = Annotated[str, typer.Option("--format", help="jsonl or parquet")]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, max=1024, help="Processes that parse")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", "-O", help="Replace OUT")]


def check_format(format: str) -> None:
    """RAISES (ElqError): If parts can't be written so."""
    from ..dumps.parts import FORMATS

    if format not in FORMATS:
        raise ElqError(Errors.ELQ110.format(name="format", value=format, of=", ".join(FORMATS)))


@contextmanager
def count_dump(dump: Path, unit: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for a file.

    unit (str): What it consists of.
    YIELDS (Callable): Takes the bytes and the units that have been read.
    """
    size = dump.stat().st_size if dump.is_file() else 0
    with count_bytes(dump.name, quiet=quiet) as count:
        yield lambda position, units: count(position, size, f"{units} {unit}")


def print_manifest(dump: Path, manifest: DumpManifest, *, quiet: bool) -> None:
    """Print what was wrong with a dump, and a table of what was read, kept and left out."""
    from ._table import format_table

    for problem in manifest.problems:
        typer.echo(f"{dump}: {problem}", err=True)
    rows = [(name, f"{number:,}") for name, number in manifest.counts.items()]
    echo_note(format_table(("", ""), rows, "lr").lstrip("\n"), quiet=quiet)
