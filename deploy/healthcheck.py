"""`python -m deploy.healthcheck URL`: exit code 0 where it answers 200 within 5 seconds. What containers ask."""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

TIMEOUT = 5.0


def is_healthy(url: str) -> bool:
    """Whether a GET of the http URL is answered with 200."""
    address = urlsplit(url)
    connection = HTTPConnection(address.netloc, timeout=TIMEOUT)
    try:
        connection.request("GET", address.path or "/")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not is_healthy(sys.argv[1]))
