"""Who may change entities."""

from __future__ import annotations

import hmac
import ipaddress

from fastapi import Request

from ..errors import Errors
from .options import ServeOptions
from .refusals import Refused


def is_loopback(host: str) -> bool:
    """RETURNS (bool): Whether a name or an address is this machine's own, for itself only."""
    bare = host.strip("[]")
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return bare.lower() == "localhost"


def check_change(request: Request, options: ServeOptions) -> None:
    """Raise an ElqError if a request may not change entities."""
    if options.read_only:
        raise Refused(403, Errors.ELQ569)
    if options.token is not None:
        _check_token(request.headers.get("authorization", ""), options.token)
    else:
        # A page from elsewhere can reach this machine under a name of its own ("DNS rebinding").
        host = request.headers.get("host", "")
        if not is_loopback(request.url.hostname or ""):
            raise Refused(403, Errors.ELQ576.format(host=host[:100]))


def _check_token(authorization: str, token: str) -> None:
    scheme, _, given = authorization.partition(" ")
    same = hmac.compare_digest(given.strip().encode("utf8", "replace"), token.encode())
    if scheme.lower() != "bearer" or not same:
        raise Refused(401, Errors.ELQ570, {"WWW-Authenticate": "Bearer"})
