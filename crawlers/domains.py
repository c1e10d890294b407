"""What a domain is: a host with its non-default port."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


@lru_cache(16_384)
def domain_of(url: str) -> str:
    """The domain of `url`, lower case; '' where it has no host or no valid port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if port is None or port == _DEFAULT_PORTS.get(parts.scheme):
        return host
    return f"{host}:{port}"


def is_web_url(url: str) -> bool:
    """Whether `url` is absolute, http or https, and names a host."""
    return url.startswith(("http://", "https://")) and bool(domain_of(url))
