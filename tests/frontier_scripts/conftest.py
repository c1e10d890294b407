"""The frontier's Lua scripts in a real Redis: what is taken, leased and settled, how politely, and what is left of it.

Time is the test's: the scripts read a clock that stands still until it is moved. After every test everything adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from tests.frontier_shard import Limits, Shard, Worker
from tests.servers.redis import RedisServer, binaries

BINARIES = binaries()


@pytest.fixture(scope="module", params=BINARIES)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """Of a server of each version that is here."""
    with RedisServer(tmp_path_factory.mktemp("redis"), BINARIES[request.param]) as server, server.client() as client:
        yield client


@pytest.fixture
def new_shard(client: Redis) -> Iterator[Callable[..., Shard]]:
    """Makes shards with the given limits; at the end, everything in them must fit together."""
    shards: list[Shard] = []

    def make(*, test_clock: bool = True, **limits: int) -> Shard:
        shards.append(Shard(client, Limits(**limits), test_clock=test_clock))
        return shards[-1]

    yield make
    for shard in shards:
        shard.check()
        shard.forget()


@pytest.fixture
def shard(new_shard: Callable[..., Shard]) -> Shard:
    return new_shard()


@pytest.fixture
def worker(shard: Shard) -> Worker:
    return shard.worker()


@pytest.fixture
def slow(new_shard: Callable[..., Shard]) -> Shard:
    """A shard whose domains have a delay of 100 ms and places for eight."""
    return new_shard(delay=100, concurrency=8)
