"""Corpus readers for `[corpora.*]` blocks of a config."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from spacy.language import Language
from spacy.training import Example

from ..errors import ElqError, Errors
from .spans import docs_from_rows, read_rows


def create_spans_jsonl_reader(
    path: str | Path | None, limit: int = 0
) -> Callable[[Language], Iterator[Example]]:
    """Read training or evaluation examples from spans JSONL, gzipped or not.

    Registered as "spacy-elq.SpansJsonl.v1". Order is the file's; `spacy train` shuffles.

    path (str | Path | None): The file. Checked when the reader is called, since configs are
        resolved before their paths are needed.
    limit (int): Read no more than this many texts; 0 reads all.
    RETURNS (Callable[[Language], Iterator[Example]]): The corpus.
    """

    def read(nlp: Language) -> Iterator[Example]:
        if not path or not Path(path).is_file():
            raise ElqError(Errors.ELQ313.format(path=path))
        rows = islice(read_rows(Path(path)), limit or None)
        for reference in docs_from_rows(nlp, rows):
            yield Example(nlp.make_doc(reference.text), reference)

    return read
