"""Between file formats of linked texts: one table of formats, each a reader and a writer of rows.

A new format is one more line in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from spacy.language import Language

from ..errors import ElqError, Errors
from .docbin import read_docbin, write_docbin
from .spans import Row, Tally, docs_from_rows, read_rows, row_from_doc, write_rows


@dataclass(frozen=True)
class Format:
    """One file format.

    suffixes (tuple[str, ...]): File names that end so are of this format unless told otherwise.
    read (Callable): (path, nlp) → the rows of the file, streamed.
    write (Callable): (rows, path, nlp, tally) → None; consumes the rows as it writes. A format of
        tokens tokenizes with nlp and counts in the tally the spans that do not fit them.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Path, Language], Iterator[Row]]
    write: Callable[[Iterable[Row], Path, Language, Tally], None]


def _read_spans_jsonl(path: Path, _nlp: Language) -> Iterator[Row]:
    return read_rows(path)


def _write_spans_jsonl(rows: Iterable[Row], path: Path, _nlp: Language, tally: Tally) -> None:
    write_rows(_counted(rows, tally), path)


def _read_spacy(path: Path, nlp: Language) -> Iterator[Row]:
    return map(row_from_doc, read_docbin(path, nlp.vocab))


def _write_spacy(rows: Iterable[Row], path: Path, nlp: Language, tally: Tally) -> None:
    write_docbin(docs_from_rows(nlp, rows, tally), path)


def _counted(rows: Iterable[Row], tally: Tally) -> Iterator[Row]:
    for row in rows:
        tally.texts += 1
        tally.spans += len(row.spans)
        yield row


FORMATS: dict[str, Format] = {
    "spans-jsonl": Format((".jsonl", ".jsonl.gz"), _read_spans_jsonl, _write_spans_jsonl),
    "spacy": Format((".spacy",), _read_spacy, _write_spacy),
}


def find_format(path: Path, name: str = "") -> Format:
    """The format of a file.

    path (Path): The file, whose suffix decides where no name is given.
    name (str): A key of `FORMATS`, or empty.
    RETURNS (Format): The format.
    RAISES (ElqError): If the name or the suffix is unknown.
    """
    if name:
        if name not in FORMATS:
            raise ElqError(Errors.ELQ311.format(name=name, known=", ".join(FORMATS)))
        return FORMATS[name]
    for candidate in FORMATS.values():
        if path.name.endswith(candidate.suffixes):
            return candidate
    raise ElqError(Errors.ELQ312.format(path=path, known=", ".join(FORMATS)))


def convert(
    source: Path,
    target: Path,
    nlp: Language,
    *,
    read_as: str = "",
    write_as: str = "",
    watch: Callable[[Iterator[Row]], Iterable[Row]] = iter,
) -> Tally:
    """Convert one file.

    source, target (Path): The files; the target is replaced as a whole.
    nlp (Language): Whose tokenizer and vocabulary are used where a format needs them.
    read_as, write_as (str): Formats; by suffix where empty.
    watch (Callable): Wraps the stream of rows, for example in a progress bar.
    RETURNS (Tally): What was converted, and what had to be changed.
    """
    reader, writer = find_format(source, read_as), find_format(target, write_as)
    tally = Tally()
    writer.write(watch(reader.read(source, nlp)), target, nlp, tally)
    return tally


def read_any(path: Path, nlp: Language) -> Iterator[Row]:
    """RETURNS (Iterator[Row]): The rows of a file, its format chosen by its suffix."""
    return find_format(path).read(path, nlp)
