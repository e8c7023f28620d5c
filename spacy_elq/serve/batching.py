"""Requests that arrive together are linked together: one thread runs the pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, ParamSpec, TypeVar

from ..errors import Errors
from .linking import TextJob
from .refusals import Refused

P = ParamSpec("P")
T = TypeVar("T")
Answers = list[dict[str, Any]]
# Seconds to wait for requests that may come along.
MAX_WAIT = 0.005
# A batch that has so much is not waited for, and takes no further request.
BATCH_TEXTS = 64
BATCH_CHARS = 1 << 14
# Requests wait as long as their texts have at most so many characters, as a multiple of what a
# request may have.
WAITING = 8
# Seconds after which a request is answered with an error.
TIMEOUT = 60.0


class Waiting(NamedTuple):
    """A request whose texts are to be linked."""

    jobs: Sequence[TextJob]
    answers: asyncio.Future[Answers]


class Batcher:
    """Collects requests and links them, batch by batch. Belongs to the event loop that runs it.

    link (Callable): Links texts, in the thread of this object.
    max_chars (int): Characters that a request may have.
    on_batch (Callable): Called with each batch's requests and texts.
    """

    def __init__(
        self,
        link: Callable[[Sequence[TextJob]], Sequence[dict[str, Any] | Exception]],
        max_chars: int,
        on_batch: Callable[[int, int], object] = lambda requests, texts: None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._link = link
        self._on_batch = on_batch
        self._timeout = timeout
        self._room = max_chars * WAITING
        self._thread = ThreadPoolExecutor(1, "elq-link")
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue()
        self._runner: asyncio.Task[None] | None = None
        self._last = 1  # number of requests of the last batch

    def start(self) -> None:
        """Begin to link."""
        self._runner = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Answer what was accepted, and end."""
        await self._queue.join()
        if self._runner is not None:
            self._runner.cancel()
        self._thread.shutdown()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function between two batches, in the thread of the pipeline."""
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._thread, lambda: function(*args, **kwargs))
        return await self._in_time(done)

    async def link(self, jobs: Sequence[TextJob]) -> Answers:
        """Link the texts of one request.

        RAISES (ElqError): What went wrong with one of them, or that too much is waiting.
        """
        chars = sum(len(job.text) for job in jobs)
        if chars > self._room:
            raise Refused(429, Errors.ELQ573, {"Retry-After": "1"})
        waiting = Waiting(jobs, asyncio.get_running_loop().create_future())
        self._room -= chars
        waiting.answers.add_done_callback(lambda _: self._free(chars))
        self._queue.put_nowait(waiting)
        return await self._in_time(waiting.answers)

    def _free(self, chars: int) -> None:
        self._room += chars

    async def _in_time(self, awaited: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(awaited, self._timeout)
        except TimeoutError:
            message = Errors.ELQ574.format(seconds=self._timeout)
            raise Refused(503, message, {"Retry-After": "5"}) from None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._collect()
            asked = [waiting for waiting in batch if not waiting.answers.done()]
            jobs = [job for waiting in asked for job in waiting.jobs]
            try:
                found = await loop.run_in_executor(self._thread, self._link, jobs)
                _answer(asked, found)
            except Exception as error:
                _answer(asked, [error] * len(jobs))
            self._on_batch(len(asked), len(jobs))
            for _ in batch:
                self._queue.task_done()

    async def _collect(self) -> list[Waiting]:
        """RETURNS (list[Waiting]): The requests of the next batch. It is waited for those who were
        just answered, and may ask again; a single client is not kept waiting."""
        expected = self._last + self._queue.qsize()
        batch = [await self._queue.get()]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + MAX_WAIT
        while not _is_full(batch):
            if not self._queue.empty():
                batch.append(self._queue.get_nowait())
            elif len(batch) >= expected or loop.time() >= deadline:
                break
            else:
                await asyncio.sleep(MAX_WAIT / 5)
        self._last = len(batch)
        return batch


def _is_full(batch: Sequence[Waiting]) -> bool:
    jobs = [job for waiting in batch for job in waiting.jobs]
    return len(jobs) >= BATCH_TEXTS or sum(len(job.text) for job in jobs) >= BATCH_CHARS


def _answer(batch: Sequence[Waiting], found: Sequence[dict[str, Any] | Exception]) -> None:
    """Give each request its own answers."""
    rest = iter(found)
    for waiting in batch:
        own = [next(rest) for _ in waiting.jobs]
        if waiting.answers.done():  # it was given up
            continue
        error = next((each for each in own if isinstance(each, Exception)), None)
        if error is not None:
            waiting.answers.set_exception(error)
        else:
            waiting.answers.set_result([each for each in own if isinstance(each, dict)])
