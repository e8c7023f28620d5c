"""What a service allows, and the token for changes."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from ..errors import ElqError, Errors

MIN_TOKEN = 16


@dataclass(frozen=True)
class ServeOptions:
    """What a service allows.

    read_only (bool): Whether entities can't be changed.
    token (str | None): What changes need; without one they are accepted at the machine's own name.
    max_chars (int): Characters of all texts of a request.
    """

    read_only: bool = False
    token: str | None = None
    max_chars: int = 100_000


def read_token(path: Path) -> str:
    """RETURNS (str): The token in a file.
    RAISES (ElqError): If others can read the file, or it holds no token."""
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ElqError(Errors.ELQ562.format(path=path))
    token = path.read_bytes().strip().decode("ascii", "replace")
    if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ElqError(Errors.ELQ563.format(path=path, least=MIN_TOKEN))
    return token
