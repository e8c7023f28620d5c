"""spaCy's own binary corpora (`.spacy`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from ..errors import ElqError, Errors
from ..files import atomic_file


def read_docbin(path: Path, vocab: Vocab) -> Iterator[Doc]:
    """Stream the documents of a `.spacy` file, whose bytes are all in memory.

    YIELDS (Doc): The documents, with span groups and user data.
    RAISES (ElqError): If the file is not a DocBin.
    """
    try:
        docs = DocBin().from_disk(path)
    except (ValueError, KeyError, TypeError):
        raise ElqError(Errors.ELQ310.format(path=path)) from None
    yield from docs.get_docs(vocab)


def write_docbin(docs: Iterable[Doc], path: Path) -> None:
    """Write documents with their user data as a `.spacy` file, replacing it as a whole."""
    docbin = DocBin(store_user_data=True)
    for doc in docs:
        try:
            docbin.add(doc)
        except (ValueError, OverflowError, RecursionError) as err:
            reason = " ".join(str(err).split())
            raise ElqError(
                Errors.ELQ451.format(path=path, text=doc.text[:60], reason=reason)
            ) from None
    with atomic_file(path) as partial:
        docbin.to_disk(partial)
