"""Errors as answers: a status, and a JSON object with the error's code and message."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from ..errors import ElqError, Errors, is_out_of_memory

CODED = re.compile(r"\[(ELQ\d+)\] (.*)", re.DOTALL)
# Answers to errors of the package; to all others, 422: the request asks for what can't be done.
BUSY, NOT_WRITTEN, NOT_WRITABLE = "ELQ240", "ELQ241", "ELQ249"
STATUS = {BUSY: 409, NOT_WRITTEN: 507, NOT_WRITABLE: 503}


class Refused(ElqError):
    """An error with the status of its answer.

    status (int): Of HTTP.
    headers (Mapping[str, str] | None): Besides the usual ones.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


def answer_error(error: Exception) -> JSONResponse:
    """RETURNS (JSONResponse): What a client is told about an error. One that nothing foresees keeps
    its words to itself: they may hold a text."""
    if is_out_of_memory(error) or isinstance(error, sqlite3.Error):
        error = Refused(503, Errors.ELQ579.format(kind=type(error).__name__))
    elif not isinstance(error, ElqError):
        error = Refused(500, Errors.ELQ575.format(kind=type(error).__name__))
    coded = CODED.fullmatch(str(error))
    code, message = coded.groups() if coded else ("", str(error))
    status = getattr(error, "status", None) or STATUS.get(code, 422)
    # An id or a name that the message repeats may hold half of a surrogate pair.
    message = message.encode("utf8", "replace").decode()
    return JSONResponse({"code": code, "message": message}, status, getattr(error, "headers", None))


def answer_errors(app: FastAPI) -> None:
    """Let an app answer all errors in this form."""

    @app.exception_handler(ElqError)
    async def coded(request: Request, error: ElqError) -> Response:
        return answer_error(error)

    @app.exception_handler(sqlite3.Error)
    @app.exception_handler(MemoryError)
    async def full(request: Request, error: Exception) -> Response:
        return answer_error(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return answer_error(_of_validation(error.errors()))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 400:
            return answer_error(Refused(400, Errors.ELQ567))
        reason = Errors.ELQ577.format(reason=str(error.detail).lower())
        return answer_error(Refused(error.status_code, reason, error.headers))


def _of_validation(errors: Sequence[Mapping[str, Any]]) -> Refused:
    """RETURNS (Refused): The first of pydantic's errors, without the value that it is about."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return Refused(400, Errors.ELQ567)
    where = ".".join(map(str, first["loc"][1:])) or str(first["loc"][0])
    return Refused(422, Errors.ELQ566.format(where=where[:200], problem=first["msg"]))
