"""Who may read the status: whoever has the token, and no page of the web that a browser of this machine shows."""

from __future__ import annotations

import base64
import binascii
import hmac
from ipaddress import ip_address
from typing import TYPE_CHECKING

from aiohttp import web
from yarl import URL

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

_OPEN = {"/healthz", "/readyz"}
"""What orchestrators ask without credentials; they tell no more than yes or no, and why not."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def guard(host: str, token: str | None) -> Middleware:
    """A middleware for a server that listens on `host`, and asks for `token` where there is one.

    Bearer, or Basic with the token as password, whatever the user's name: browsers ask people for that by themselves.
    On a loopback address only names of it are answered: else a page of the web whose name resolves to 127.0.0.1 could
    read the status as its own.
    """
    is_local = _is_loopback(host)

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_local and not _is_local_name(request.host):
            raise web.HTTPMisdirectedRequest(text="not asked for by a name of this machine\n")
        if token and request.path not in _OPEN and not _knows(request.headers.get("Authorization", ""), token):
            raise web.HTTPUnauthorized(
                text="STATUS_TOKEN is asked for\n", headers={"WWW-Authenticate": 'Basic realm="Seine"'}
            )
        return await handler(request)

    return guarded


def is_open(host: str, token: str | None) -> bool:
    """Whether others than this machine may read the status without being asked for anything."""
    return not token and not _is_loopback(host)


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Say to browsers what they may do with an answer: show it here, and nothing else."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def _knows(header: str, token: str) -> bool:
    kind, _, told = header.partition(" ")
    if kind.lower() == "basic":
        try:
            told = base64.b64decode(told, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif kind.lower() != "bearer":
        return False
    return hmac.compare_digest(told.strip().encode(), token.encode())


def _is_local_name(host: str) -> bool:
    try:
        name = URL(f"//{host}").host or ""
    except ValueError:
        return False
    return name == "localhost" or _is_loopback(name)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
