"""One stack and one demo shop for all tests; each test has topics and a folder of its own."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.demo_shop import DemoShop, running_shop
from deploy.local import Stack, StackConfig
from tests.browsers import short_folder
from tests.fleet import FrontierSeine
from tests.letters import OTHER_SITE, Letters
from tests.servers.certificates import Certificate
from tests.servers.hdfs import HdfsServer
from tests.servers.kafka import GuardedBroker
from tests.servers.ports import HOST, free_port, stack_ports
from tests.servers.redis import RedisServer
from tests.servers.web import WebServer
from tests.support import Seine, own_topics

LONGEST = (
    "exactly_once monitors browser_hardships outages routing browser_pool audit_failures forgetting changes "
    "frontier_redis audit browser_grid dead_letters claim_check browser_frontier changes_failures browser_guards "
    "browser_handler dlq frontier_politeness changes_replay bad_input tracing drills status scheduler alerts "
    "frontier_crawls status_page"
)
"""The files that take longest. Their tests come first: no worker of `make test` has such a file left at the end."""

signal.signal(signal.SIGINT, signal.default_int_handler)
"""A shell starts its background jobs with Ctrl-C ignored, which the commands under test would inherit."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers take files in this order with --no-loadscope-reorder."""
    order = {f"test_{name}.py": place for place, name in enumerate(LONGEST.split())}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(autouse=True)
def no_command_outlives_its_test() -> Iterator[None]:
    """A worker that a failed test left would wait for its crawl for ever."""
    yield
    for process in Seine.started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    Seine.started.clear()


@pytest.fixture(scope="session")
def kafka_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A real Kafka and a real registry. A test that stops one starts it again."""
    stack = Stack(StackConfig(tmp_path_factory.mktemp("kafka"), ports=stack_ports()))
    try:
        stack.up(["kafka", "schema_registry"])
        yield stack
    finally:
        stack.down(wipe=True)


@pytest.fixture(scope="session")
def kafka_env(kafka_stack: Stack) -> dict[str, str]:
    """The environment variables that point Seine at them."""
    return {name: value for name, value in kafka_stack.env().items() if name.startswith(("KAFKA_", "SCHEMA_"))}


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    """A broker with users, rights and TLS, on a disk that can be filled. A test that stops it starts it again."""
    with GuardedBroker(tmp_path_factory.mktemp("guarded")) as broker:
        yield broker


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis that keeps nothing on disk. Tests share it, each with a namespace of its own."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def hdfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HdfsServer]:
    """A real HDFS. Tests share it, each with a folder of its own; one that breaks it mends it again."""
    with HdfsServer(tmp_path_factory.mktemp("hdfs")) as server:
        yield server


@pytest.fixture(scope="session")
def running_demo_shop() -> Iterator[DemoShop]:
    with running_shop(base_port=0) as shop:
        yield shop


@pytest.fixture
def shop(running_demo_shop: DemoShop) -> DemoShop:
    """The demo shop, as it is when it opens."""
    running_demo_shop.reset()
    running_demo_shop.clear_log()
    return running_demo_shop


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    """A folder for sites' TOML files."""
    folder = tmp_path / "sites"
    folder.mkdir()
    return folder


@pytest.fixture
def offline(tmp_path: Path, sites: Path) -> Seine:
    """Seine with nothing configured but its sites' folder: no Kafka, no registry."""
    return Seine(tmp_path, {"SITES_DIR": str(sites), "DOWNLOAD_DELAY": "0", "REDIS_URL": ""})


@pytest.fixture
def seine(offline: Seine, kafka_env: dict[str, str]) -> Seine:
    """Seine on the real services, with topics of its own."""
    return Seine(offline.folder, {**offline.env, **kafka_env, **own_topics()})


@pytest.fixture
def fleet(offline: Seine, redis_server: RedisServer) -> FrontierSeine:
    env = {"REDIS_URL": redis_server.url, "FRONTIER_NAMESPACE": f"test-{secrets.token_hex(4)}"}
    return FrontierSeine(offline.folder, {**offline.env, **env}, redis_server.client())


@pytest.fixture
def audited(fleet: FrontierSeine, kafka_env: dict[str, str]) -> FrontierSeine:
    """Crawls with a frontier and an audit trail of their own."""
    fleet.env |= kafka_env | own_topics()
    return fleet


@pytest.fixture
def letters(seine: Seine, sites: Path, redis_server: RedisServer) -> Letters:
    """Seine on real Kafka and Redis with a site that nobody crawls, and the dead letters of its crawls."""
    (sites / "other.toml").write_text(OTHER_SITE)
    seine.env |= {"REDIS_URL": redis_server.url, "FRONTIER_NAMESPACE": f"test-{secrets.token_hex(4)}"}
    return Letters(seine, redis_server)


@pytest.fixture
def browser_folder() -> Iterator[Path]:
    """Of crawls' browsers: empty again in the end."""
    with short_folder() as made:
        yield made
        assert not list(made.iterdir())


@pytest.fixture
def nowhere() -> str:
    """host:port where nobody listens."""
    return f"{HOST}:{free_port()}"


@pytest.fixture
def web() -> Iterator[Callable[..., WebServer]]:
    """Starts servers that end with the test."""
    servers: list[WebServer] = []

    def start(pages: dict[str, Any], certificate: Certificate | None = None, host: str = "127.0.0.1") -> WebServer:
        servers.append(WebServer(pages, host, certificate).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__(None, None, None)
