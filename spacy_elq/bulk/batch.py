"""Link texts that are all held in memory, in this process."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence

from spacy.language import Language

from ..corpora.predictions import linked_spans
from ..corpora.spans_jsonl import LinkedSpan

# The links of one text.
TextLinks = tuple[LinkedSpan, ...]
# Called with the texts linked since the last call.
OnLinked = Callable[[Sequence[str]], object]


def no_progress(texts: Sequence[str]) -> None:
    """Report no progress."""


def link_texts(
    nlp: Language, texts: Sequence[str], batch_size: int, on_linked: OnLinked = no_progress
) -> tuple[list[TextLinks], float]:
    """Link texts that are all held in memory.

    RETURNS (tuple[list[TextLinks], float]): The links of each text, and the seconds it all took.
    """
    began = time.perf_counter()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    linked: list[TextLinks] = [()] * len(texts)
    # Strings that occur only in these texts are freed at the end: no document is kept.
    with nlp.memory_zone():
        docs = nlp.pipe((texts[i] for i in order), batch_size=batch_size)
        for i, doc in zip(order, docs, strict=True):
            linked[i] = linked_spans(doc)
            on_linked([texts[i]])
    _give_back_memory()
    return linked, time.perf_counter() - began


def _give_back_memory() -> None:
    """glibc hoards freed arrays of varying sizes; return that memory to the system."""
    trim = getattr(ctypes.pythonapi, "malloc_trim", None)
    if trim is not None:
        trim(0)
