"""Reads proxies from PROXIES and PROXIES_FILE. No message shows a credential: an entry is named by its place, and shown
only once all of it was understood, as part of a password that was not quoted may be anywhere else.

An entry is a URL and what is said of it: `http://user:password@host:8080 label=dc-1 tier=cheap region=de weight=2`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from crawlers.domains import is_web_url
from crawlers.exceptions import UserError

DIRECT = "direct"
"""The entry, the label and the tier of a connection without a proxy."""
_SCHEMES = ("http", "socks5")
_FORM = "expected http://[user:password@]host:port or socks5://[user:password@]host:port"
_FORM_OF_OPTIONS = "expected a URL whose password is percent-encoded, then label=, tier=, region= or weight="
_REMARK = re.compile(r"(?:^|\s)#")
_OPTIONS = ("label", "tier", "region", "weight")
_TIER = "proxies"
"""Of entries that name none."""
_PATIENCE = 20.0
"""Seconds for a list's server."""
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Proxy:
    """A way out."""

    label: str
    """What records, logs and metrics show."""
    url: str = ""
    """Without credentials; '' is a direct connection."""
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    tier: str = _TIER
    region: str = ""
    weight: float = 1.0

    @property
    def authorization(self) -> bytes | None:
        """The value of Proxy-Authorization."""
        if not self.user:
            return None
        return b"Basic " + b64encode(f"{self.user}:{self.password}".encode())

    @property
    def secrets(self) -> set[str]:
        """What no log may show: its password, as it is and as a URL has it."""
        return {self.password, quote(self.password, safe="")} - {""}

    @property
    def secret_url(self) -> str:
        """With its credentials: for whoever dials it, and nobody else."""
        if not self.user:
            return self.url
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{quote(self.user, safe='')}:{quote(self.password, safe='')}@{rest}"


DIRECTLY = Proxy(DIRECT, tier=DIRECT)


class Tier(NamedTuple):
    """Proxies of one price; `budget` is bytes a day, 0 without limit."""

    name: str
    budget: int


def is_configured(settings: Any) -> bool:
    """Whether requests take proxies."""
    return bool(settings.getlist("PROXIES") or settings["PROXIES_FILE"])


def read_proxies(settings: Any) -> list[Proxy]:
    """Those of PROXIES and of PROXIES_FILE. Blocks. Raises UserError."""
    entries = [(f"PROXIES: entry {number}", entry) for number, entry in enumerate(settings.getlist("PROXIES"), 1)]
    if source := settings["PROXIES_FILE"]:
        for number, line in enumerate(_lines(source), 1):
            if entry := _REMARK.split(line, maxsplit=1)[0].strip():
                entries.append((f"PROXIES_FILE: line {number}", entry))
    found: dict[str, Proxy] = {}
    for where, entry in entries:
        proxy = _proxy(entry, where)
        if found.setdefault(proxy.label, proxy) is not proxy:
            raise UserError(f"{where}: {proxy.label} is there twice: expected label=NAME, another for each")
    if not found:
        raise UserError("PROXIES_FILE: no proxy is there: expected one a line")
    return list(found.values())


def check_proxies(settings: Any) -> None:
    """Raise UserError where they, or their tiers, are not right. Blocks."""
    if is_configured(settings):
        read_tiers(settings, read_proxies(settings))


def read_tiers(settings: Any, proxies: list[Proxy]) -> list[Tier]:
    """Those of PROXY_TIERS, else those of the proxies in turn, a direct connection first. Raises UserError."""
    known = list(dict.fromkeys(proxy.tier for proxy in proxies))
    if not (given := settings.getlist("PROXY_TIERS")):
        return [Tier(name, 0) for name in sorted(known, key=lambda name: name != DIRECT)]
    tiers = []
    for part in given:
        name, _, megabytes = part.partition("=")
        if not name or (megabytes and not megabytes.isdigit()):
            raise UserError(f"PROXY_TIERS: {part}: expected a tier, or tier=megabytes a day")
        tiers.append(Tier(name, int(megabytes or 0) * _MEGABYTE))
    if left_out := [name for name in known if name not in {tier.name for tier in tiers}]:
        raise UserError(f"PROXY_TIERS: {left_out[0]} is left out, which proxies are of")
    return tiers


def _lines(source: str) -> list[str]:
    if not is_web_url(source):
        try:
            return Path(source).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            shown = "" if "@" in source else f"={source}"
            why = (error.strerror or type(error).__name__) if isinstance(error, OSError) else "not UTF-8"
            raise UserError(f"PROXIES_FILE{shown}: cannot be read: {why}") from None
    import requests  # takes longer than most commands' own work

    shown = f"{urlsplit(source).scheme}://{urlsplit(source).hostname}/…"
    try:
        answer = requests.get(source, timeout=_PATIENCE)
    except requests.RequestException as error:
        raise UserError(f"PROXIES_FILE={shown}: cannot be had: {type(error).__name__}") from None
    if not answer.ok:
        raise UserError(f"PROXIES_FILE={shown}: http {answer.status_code}")
    return answer.text.splitlines()


def _proxy(entry: str, where: str) -> Proxy:
    url, *words = entry.split()
    named: dict[str, Any] = dict(word.partition("=")[::2] for word in words)
    address = None if url == DIRECT else _address(url, where)
    if not named.keys() <= set(_OPTIONS):
        raise UserError(f"{where}: {_FORM_OF_OPTIONS}")
    try:
        weight = named["weight"] = float(named.get("weight", 1))
    except ValueError:
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise UserError(f"{where}: weight: expected a number above 0")
    if address is None:
        return Proxy(**{"label": DIRECT, "tier": DIRECT, **named})
    return Proxy(**{"label": address["url"].partition("://")[2], **address, **named})


def _address(url: str, where: str) -> dict[str, str]:
    """Its fields of Proxy."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UserError(f"{where}: {_FORM}") from None
    is_more = bool(parts.query or parts.fragment or parts.path not in ("", "/"))
    if parts.scheme not in _SCHEMES or not host or port is None or is_more:
        raise UserError(f"{where}: {_FORM}")
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return {"url": f"{parts.scheme}://{at}", "user": user, "password": password}
