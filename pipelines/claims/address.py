"""Reads CLAIM_CHECK_URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from crawlers.exceptions import UserError

_PORTS = {"webhdfs": 9870, "swebhdfs": 9871}
"""NameNodes' own default ports for HTTP and HTTPS."""
_NAMENODE = re.compile(r"(\[[0-9A-Fa-f:]+\]|[\w.-]+)(:\d{1,5})?")
_EXPECTED = "expected file:///folder, webhdfs://host:port/folder or webhdfs://nn1:port,nn2:port/folder"


@dataclass(frozen=True, slots=True)
class HdfsAddress:
    """A folder of HDFS."""

    scheme: str
    """http or https."""
    namenodes: tuple[str, ...]
    """host:port of each."""
    path: str
    """Absolute, without a slash at its end."""


def read_address(url: str) -> HdfsAddress | Path:
    """Where claims are kept. Raises UserError naming what is wrong with `url`."""
    parts = urlsplit(url)
    path = unquote(parts.path).rstrip("/")
    if parts.query or parts.fragment or ".." in path.split("/"):
        raise UserError(f"CLAIM_CHECK_URL={url}: {_EXPECTED}")
    if parts.scheme == "file" and not parts.netloc and path:
        return Path(path)
    if parts.scheme in _PORTS and parts.netloc:
        scheme = "https" if parts.scheme == "swebhdfs" else "http"
        return HdfsAddress(scheme, _namenodes(url, parts.netloc, _PORTS[parts.scheme]), path)
    raise UserError(f"CLAIM_CHECK_URL={url}: {_EXPECTED}")


def _namenodes(url: str, hosts: str, port: int) -> tuple[str, ...]:
    found = [_NAMENODE.fullmatch(host.strip()) for host in hosts.split(",")]
    if not all(found):
        raise UserError(f"CLAIM_CHECK_URL={url}: {_EXPECTED}")
    return tuple(f"{match[1]}{match[2] or f':{port}'}" for match in found if match)
