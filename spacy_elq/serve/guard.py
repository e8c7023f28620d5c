"""Around every request: the bounds of its body, headers of its answer, a line in the log, counts.

No address, header or body gets into the log: they may hold texts.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import Errors
from .refusals import Refused, answer_error

log = logging.getLogger("spacy_elq.serve")

# A character takes at most so many bytes in JSON ("\\ud83c\\udfc0"); the rest is for other fields.
BYTES_PER_CHAR = 12
OTHER_BYTES = 1 << 20
# Seconds in which a body must arrive.
BODY_SECONDS = 20.0
# Bytes of a body that is refused, and seconds, in which its end is waited for.
DISCARDED = 1 << 24
DISCARD_SECONDS = 2.0
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
UNKNOWN_PATH = "other"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


class Guard:
    """Wraps an app.

    max_chars (int): Characters that a request may have.
    count (Callable): Called with method, route, status and seconds of each answered request.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_chars: int,
        count: Callable[[str, str, int, float], object],
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self.app = app
        self.max_body = max_chars * BYTES_PER_CHAR + OTHER_BYTES
        self.count = count
        self.body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        try:
            body = await self._read_body(scope, receive)
            await self.app(scope, _replay(body, receive), send_with_headers)
        except Exception as error:
            # Not the message of the error, which may hold a text.
            if not isinstance(error, Refused):
                frames = "".join(traceback.format_tb(error.__traceback__))
                log.error("%s\n%s", type(error).__name__, frames)
            if not status:
                answer = answer_error(error)
                answer.headers["connection"] = "close"  # what is left of the body is not read
                await answer(scope, receive, send_with_headers)
        self._note(scope, status, time.perf_counter() - began)

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes:
        """RETURNS (bytes): The body, all of it.
        RAISES (ElqError): If it is too large, or takes too long."""
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self.max_body:
            await _discard(receive)
            raise Refused(413, Errors.ELQ571.format(most=self.max_body))
        parts, size, more = [], 0, True
        try:
            async with asyncio.timeout(self.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        break
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    more = message.get("more_body", False)
                    if size > self.max_body:
                        await _discard(receive)
                        raise Refused(413, Errors.ELQ571.format(most=self.max_body))
        except TimeoutError:
            raise Refused(408, Errors.ELQ572.format(seconds=self.body_seconds)) from None
        return b"".join(parts)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else UNKNOWN_PATH
        path = getattr(scope.get("route"), "path", scope.get("root_path")) or UNKNOWN_PATH
        self.count(method, path, status, seconds)
        log.info("%s %s %d %.1f ms", method, path, status, seconds * 1000)


async def _discard(receive: Receive) -> None:
    """Read on for a while: whoever is still sending when the connection is closed does not get the
    answer."""
    left, more = DISCARDED, True
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while more and left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                more = message.get("more_body", False)


def _replay(body: bytes, receive: Receive) -> Receive:
    """RETURNS (Receive): Gives an app the body that was read."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
