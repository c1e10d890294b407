"""Keeps the cookies of sessions apart that are named otherwise than by a cookie jar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crawlers.identity import Identity

if TYPE_CHECKING:
    from scrapy import Request


class CookieJarMiddleware:
    """Sets `meta["cookiejar"]` of requests without one, as `meta["playwright_context"]` and their own Identity have it.

    A browser's context has cookies of its own; Scrapy's one jar would carry them from one to another.
    """

    def process_request(self, request: Request) -> None:
        meta = request.meta
        if meta.get("cookiejar") is not None:
            return
        identity, context = meta.get("identity"), meta.get("playwright_context")
        names = [identity.label] if isinstance(identity, Identity) and "identity_label" not in meta else []
        if context is not None:
            names.append(str(context))
        if names:
            meta["cookiejar"] = "/".join(names)
