"""Who a request is sent as: the same in plain HTTP and in a browser."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy import Request


@dataclass(frozen=True, slots=True)
class Identity:
    """What belongs together for as long as a session lasts. `meta["identity"]` has it; a frontier does not store it: it
    refuses a request that brings its own.
    """

    label: str
    """What records and logs show; the key of its cookie jar and of its browser context."""
    is_browser_like: bool = False
    """Whether it passes for a person's browser. An honest bot does not."""
    user_agent: str = ""
    """'' is the engine's own."""
    accept_language: str = ""
    """As `de-CH,de`, without weights; '' is the engine's own."""
    header_order: tuple[bytes, ...] = field(default=(), repr=False)
    """Of names: plain HTTP sends its headers in this order, and others after them."""
    proxy: str = field(default="", repr=False)
    """URL with credentials, never logged; '' is none."""
    proxy_label: str = ""


def identity_of(request: Request, user_agent: str) -> Identity:
    """The identity that `request` carries, or the bot's that `user_agent` names; another one for each cookie jar."""
    found, jar = request.meta.get("identity"), request.meta.get("cookiejar")
    identity = found if isinstance(found, Identity) else Identity("default", user_agent=user_agent)
    return identity if jar in (None, identity.label) else replace(identity, label=f"{identity.label}/{jar}")
