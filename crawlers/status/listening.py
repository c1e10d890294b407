"""Which port the status is served on: several workers of a host take one each."""

from __future__ import annotations

import errno
import re
import socket

from crawlers.exceptions import StartupError, UserError

_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_EXPECTED = "expected a port, such as 9410, or a range, such as 9410-9459"


def read_ports(text: str) -> range | None:
    """The ports that STATUS_PORT names, in the order in which they are tried; None where it is empty.

    0 is any that is free. Raises UserError.
    """
    if not text:
        return None
    found = _PORTS.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not first <= last <= 65_535:
        raise UserError(f"STATUS_PORT={text}: {_EXPECTED}")
    return range(first, last + 1)


def listen(host: str, ports: range) -> socket.socket | None:
    """A socket that listens on the first of `ports` that is free; None where none of several is.

    Raises StartupError where `host` is no address of this machine, or the one port that was asked for is taken.
    """
    for port in ports:
        try:
            return socket.create_server((host, port), family=_family(host), backlog=64)
        except PermissionError:
            raise StartupError(f"STATUS_PORT={port}: only root may listen there: choose one above 1023") from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise StartupError(f"STATUS_HOST={host}: cannot be listened on: {error.strerror}") from None
            if len(ports) == 1:
                raise StartupError(
                    f"STATUS_PORT={port}: taken by another process: choose another, or a range"
                ) from None
    return None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
