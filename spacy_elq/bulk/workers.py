"""Processes that link texts in parallel, each with its own pipeline.

The encoder uses all cores; the Python code after it takes a third of that time and uses one.
`nlp.pipe(n_process=...)` would restart its processes for each part of a stream, and send whole
documents back.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from multiprocessing import get_context

from spacy.language import Language

from ..concurrency import follow_parent
from ..corpora.spans_jsonl import LinkedText
from ..errors import ElqError, Errors
from .batch import OnLinked, TextLinks, link_texts

# A worker's own pipeline.
_nlp: Language | None = None


class Workers(AbstractContextManager["Workers"]):
    """A pool of linking processes; use it in a `with` statement, which ends them."""

    def __init__(self, load: Callable[[], Language], count: int) -> None:
        """
        load (Callable): Loads the pipeline; must be picklable.
        count (int): Number of processes, which share the cores that torch would use here.
        """
        import torch

        threads = max(1, torch.get_num_threads() // count)
        # Forked processes would inherit torch's threads in an undefined state.
        self._pool = ProcessPoolExecutor(
            count, get_context("spawn"), initializer=_begin, initargs=(load, threads)
        )
        self.count = count

    def link(
        self, chunks: Iterable[list[LinkedText]], batch_size: int, on_linked: OnLinked
    ) -> Iterator[tuple[list[LinkedText], list[TextLinks], float]]:
        """Link texts, reading one chunk more than there are processes ahead.

        on_linked (Callable): Called with the texts just linked.
        YIELDS (tuple[list[LinkedText], list[TextLinks], float]): Each chunk in turn, the links of
            its texts, and the seconds that linking took.
        RAISES (ElqError): If a process was killed.
        """
        waiting: deque[tuple[list[LinkedText], Future[tuple[list[TextLinks], float]]]] = deque()
        for chunk in chunks:
            texts = [text.text for text in chunk]
            waiting.append((chunk, self._submit(texts, batch_size)))
            if len(waiting) > self.count + 1:
                yield self._next(waiting, on_linked)
        while waiting:
            yield self._next(waiting, on_linked)

    def _submit(self, texts: list[str], batch_size: int) -> Future[tuple[list[TextLinks], float]]:
        try:
            return self._pool.submit(_link, texts, batch_size)
        except BrokenProcessPool:
            raise ElqError(Errors.ELQ433) from None

    def _next(
        self,
        waiting: deque[tuple[list[LinkedText], Future[tuple[list[TextLinks], float]]]],
        on_linked: OnLinked,
    ) -> tuple[list[LinkedText], list[TextLinks], float]:
        chunk, linked = waiting.popleft()
        try:
            spans, seconds = linked.result()
        except BrokenProcessPool:
            raise ElqError(Errors.ELQ433) from None
        on_linked([text.text for text in chunk])
        return chunk, spans, seconds

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def _begin(load: Callable[[], Language], threads: int) -> None:
    import torch

    global _nlp
    follow_parent()
    torch.set_num_threads(threads)
    _nlp = load()
    gc.freeze()  # full collections skip everything loaded so far


def _link(texts: list[str], batch_size: int) -> tuple[list[TextLinks], float]:
    assert _nlp is not None
    return link_texts(_nlp, texts, batch_size)
