"""Ports for tests' servers, each handed out once, from a block that no other worker of pytest-xdist has.

A port that is free now is bound a moment later, and again when its server is restarted. Nobody takes it in between:
all blocks are below the range from which the system gives ports to clients.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from dataclasses import fields

from deploy.local import Ports

HOST = "127.0.0.1"
BUS = 10_000
"""A node of a Redis Cluster listens so far above its port too: above all blocks."""
_FIRST, _SIZE, _BLOCKS = 6_000, 1_000, 10


def free_port(*also: int) -> int:
    """A port that nobody listens on, neither there nor at the distances `also` above it."""
    return next(port for port in _unused if _all_free(port, *(port + distance for distance in also)))


def free_row(count: int) -> int:
    """The first of so many free ports in a row."""
    first = last = free_port()
    while last - first + 1 < count:
        port = free_port()
        first, last = (first if port == last + 1 else port), port
    return first


def stack_ports() -> Ports:
    """A port for each service of the embedded stack."""
    return Ports(**{port.name: free_port() for port in fields(Ports)})


def _block() -> range:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    assert worker < _BLOCKS, f"tests have ports for {_BLOCKS} workers"
    return range(_FIRST + worker * _SIZE, _FIRST + (worker + 1) * _SIZE)


def _ports() -> Iterator[int]:
    """The block, each port once, from a place of its own for every run: two at a time seldom meet."""
    block = _block()
    start = random.randrange(_SIZE)
    yield from (*block[start:], *block[:start])
    raise AssertionError(f"all ports of {block} were used")


def _all_free(*ports: int) -> bool:
    for port in ports:
        try:
            socket.create_server((HOST, port)).close()
        except OSError:
            return False
    return True


_unused = _ports()
