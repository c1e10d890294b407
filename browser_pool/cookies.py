"""Cookies between Scrapy's jar and a browser: a `Cookie` header on the way out, `Set-Cookie` headers on the way in."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy import Request

    from browser_pool.backend import Cookie


def cookies_of(request: Request) -> tuple[tuple[str, str], ...]:
    """Names and values of the request's `Cookie` header."""
    header = (request.headers.get("Cookie") or b"").decode("utf-8", "replace")
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return tuple((name, value) for name, is_pair, value in pairs if is_pair and name)


def set_cookies(cookies: list[Cookie], sent: tuple[tuple[str, str], ...]) -> list[str]:
    """`Set-Cookie` headers that leave a jar with what the browser has; `sent` is what the jar had."""
    kept = {cookie.name for cookie in cookies}
    gone = [f"{name}=; Path=/; Max-Age=0" for name, _ in sent if name not in kept]
    return [_header(cookie) for cookie in cookies] + gone


def _header(cookie: Cookie) -> str:
    parts = [f"{cookie.name}={cookie.value}", f"Path={cookie.path}"]
    if cookie.domain.startswith("."):
        parts.append(f"Domain={cookie.domain}")
    if cookie.expires > 0:
        parts.append(f"Expires={formatdate(cookie.expires, usegmt=True)}")
    if cookie.is_secure:
        parts.append("Secure")
    if cookie.is_http_only:
        parts.append("HttpOnly")
    return "; ".join(parts)
