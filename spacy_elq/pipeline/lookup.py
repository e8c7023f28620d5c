"""The entity linker of a pipeline, and what it gets to see of a text."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from ..corpora.spans_jsonl import check_text
from ..errors import ElqError, Errors


def find_elq(nlp: Language) -> Any | None:
    """RETURNS (Any | None): The pipeline's entity linker of this package, None if it has none.
    RAISES (ElqError): If it has several."""
    found = {n: pipe for n, pipe in nlp.pipeline if nlp.get_pipe_meta(n).factory == "elq"}
    if len(found) > 1:
        raise ElqError(Errors.ELQ453.format(names=", ".join(found)))
    return next(iter(found.values()), None)


def knows(elq: Any | None) -> Callable[[str], bool] | None:
    """RETURNS (Callable | None): Whether a linker's knowledge base has an entity, by its id; None
    if there is no knowledge base that could tell."""
    find = getattr(getattr(elq, "kb", None), "entity", None)
    return None if find is None else cache(lambda id_: find(id_) is not None)


def doc_before(nlp: Language, component: str, text: str | Doc) -> Doc:
    """RETURNS (Doc): A text, or what the tokenizer made of it, after all components before the
    named one.
    RAISES (ElqError): If the pipeline can't read it."""
    if isinstance(text, str):
        check_text(text, nlp.max_length)
    doc = nlp.make_doc(text) if isinstance(text, str) else text
    for name, pipe in nlp.pipeline:
        if name == component:
            break
        doc = pipe(doc)
    return doc
