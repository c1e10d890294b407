"""A GET for the stack's own probes: no proxy, no redirects, no client library to load."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from deploy.local.service import PROBE_TIMEOUT


def get(url: str) -> tuple[int, bytes]:
    """The status and body of `url`. Raises OSError for whatever keeps it from answering."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PROBE_TIMEOUT)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path)
        response = connection.getresponse()
        return response.status, response.read()
    except HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
