"""Browsers of another machine: where they are, and how they reach this worker's egress."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from crawlers.exceptions import UserError

_SCHEMES = {"playwright": ("ws", "wss", "http", "https"), "selenium": ("http", "https")}
"""Of BROWSER_REMOTE_URL, by backend: DevTools, or WebDriver."""
_LOOPBACK = "127.0.0.1"
_SHORTEST_SECRET = 6
"""A shorter value would be found in words that are none."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where browsers reach the egress, and which machines it serves: anybody else would have an open proxy."""

    host: str = _LOOPBACK
    clients: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def from_settings(cls, settings: Any) -> Self:
        """Raises UserError where another machine could not, or anybody could, use it."""
        host = settings.get("BROWSER_EGRESS_HOST") or _LOOPBACK
        clients = tuple(_network(text) for text in settings.getlist("BROWSER_EGRESS_CLIENTS"))
        if host != _LOOPBACK and not clients:
            raise UserError(
                f"BROWSER_EGRESS_HOST={host}: expected BROWSER_EGRESS_CLIENTS beside it, the networks of the browsers, "
                "as 10.0.3.0/24: anybody could use it otherwise"
            )
        return cls(host, clients)

    def serves(self, client: str) -> bool:
        """Whether that address may connect."""
        address = ip_address(client)
        return address.is_loopback or any(address in network for network in self.clients)


def secrets_of(url: str) -> set[str]:
    """What must not be shown of BROWSER_REMOTE_URL: user, password and query, in all and by value."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    values = {unquote(part) for part in (user, *user.split(":"))} | {*user.split(":")}
    values |= {value for _, value in parse_qsl(parts.query)} | {one.partition("=")[2] for one in parts.query.split("&")}
    return {user, parts.query, *(value for value in values if len(value) >= _SHORTEST_SECRET)} - {""}


def check_remote(settings: Any) -> None:
    """Raise UserError where BROWSER_REMOTE_URL cannot work."""
    listening = Listening.from_settings(settings)
    if not (url := settings.get("BROWSER_REMOTE_URL")):
        return
    try:
        backend, parts = settings["BROWSER_BACKEND"], urlsplit(url)
    except ValueError:
        raise UserError("BROWSER_REMOTE_URL: expected a URL, as http://browsers:4444") from None
    if backend not in _SCHEMES:
        raise UserError(f"BROWSER_REMOTE_URL: expected BROWSER_BACKEND={' or '.join(_SCHEMES)}, not {backend}")
    if parts.scheme not in _SCHEMES[backend] or not parts.hostname:
        wanted = ", ".join(f"{scheme}://" for scheme in _SCHEMES[backend])
        raise UserError(f"BROWSER_REMOTE_URL: expected a URL that starts with {wanted} for BROWSER_BACKEND={backend}")
    if listening.host == _LOOPBACK and parts.hostname not in (_LOOPBACK, "localhost", "::1"):
        raise UserError(
            f"BROWSER_REMOTE_URL: a browser at {parts.hostname} cannot reach this worker's egress at {_LOOPBACK}: "
            "set BROWSER_EGRESS_HOST to this worker's address as that machine has it"
        )


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        raise UserError(f"BROWSER_EGRESS_CLIENTS: {text}: expected a network, as 10.0.3.0/24") from None
