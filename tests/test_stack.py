"""The embedded stack, as its users meet it: real services on free ports, downloads from a repository on loopback."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
import redis
import requests
from jgo.maven import MavenContext

from deploy.local import Ports, Stack, StackConfig, StackError
from deploy.local.artifacts import LockedArtifact, fetch
from deploy.local.errors import DownloadError, PortTaken, StartFailed
from tests.servers.ports import stack_ports

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All four services, up, in a folder and on ports of their own."""
    stack = Stack(StackConfig(tmp_path_factory.mktemp("stack"), ports=stack_ports()))
    try:
        stack.up()
        yield stack
    finally:
        stack.down(wipe=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Stack]:
    """A stack of which a test starts Redis only, and may break it."""
    stack = Stack(StackConfig(tmp_path / "stack", ports=stack_ports()))
    try:
        yield stack
    finally:
        stack.down(wipe=True)


def pids(stack: Stack) -> dict[str, int]:
    daemons = [daemon for service in stack.services.values() for daemon in service.daemons]
    return {daemon.name: process.pid for daemon in daemons if (process := daemon.process())}


def client(stack: Stack) -> redis.Redis:
    return redis.Redis.from_url(stack.status()["redis"]["url"])


def scrapy_stack(*arguments: str, stack: Stack) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, with the stack's places and ports in the environment."""
    config = stack.config
    ports = {f"STACK_{port.name.upper()}_PORT": str(getattr(config.ports, port.name)) for port in fields(Ports)}
    places = {"STACK_DIR": str(config.data_dir), "STACK_CACHE_DIR": str(config.cache_dir)}
    return subprocess.run(
        [sys.executable, "-m", "scrapy", "stack", *arguments],
        cwd=ROOT,
        env={**os.environ, **ports, **places},
        capture_output=True,
        text=True,
    )


# --- All four, up ---------------------------------------------------------------------------------------------------


def test_status_json_names_each_service_with_its_address_and_state(stack: Stack) -> None:
    ports = stack.config.ports
    shown = scrapy_stack("status", "--json", stack=stack)
    assert shown.returncode == 0
    assert json.loads(shown.stdout) == {
        "redis": {"url": f"redis://127.0.0.1:{ports.redis}/0", "state": "up"},
        "kafka": {"bootstrap_servers": f"127.0.0.1:{ports.kafka}", "state": "up"},
        "schema_registry": {"url": f"http://127.0.0.1:{ports.registry}/apis/ccompat/v7", "state": "up"},
        "hdfs": {"url": f"webhdfs://127.0.0.1:{ports.hdfs}", "state": "up"},
    }


def test_env_prints_lines_that_a_shell_can_take(stack: Stack) -> None:
    shown = scrapy_stack("env", stack=stack).stdout
    exported = dict(re.fullmatch(r"export (\w+)=(\S+)", line).groups() for line in shown.splitlines())  # type: ignore[union-attr]
    assert exported == stack.env()
    assert set(exported) == {
        "REDIS_URL",
        "KAFKA_BOOTSTRAP_SERVERS",
        "KAFKA_CREATE_TOPICS",
        "SCHEMA_REGISTRY_URL",
        "SCHEMA_REGISTRY_AUTO_REGISTER",
        "CLAIM_CHECK_URL",
    }


def test_a_record_and_its_schema_and_a_blob_can_be_stored(stack: Stack) -> None:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

    env = stack.env()
    servers = {"bootstrap.servers": env["KAFKA_BOOTSTRAP_SERVERS"]}
    admin = AdminClient(servers)
    admin.create_topics([NewTopic("t", 1, 1)])["t"].result(10)
    delivered: list = []
    producer = Producer(servers | {"enable.idempotence": True})
    producer.produce("t", b"v", on_delivery=lambda error, message: delivered.append(error))
    producer.flush(10)
    assert delivered == [None]

    registry = SchemaRegistryClient({"url": env["SCHEMA_REGISTRY_URL"]})
    assert registry.register_schema("t-value", Schema('"string"', "AVRO")) > 0

    blob = f"http://127.0.0.1:{stack.config.ports.hdfs}/webhdfs/v1/seine/blob"
    created = requests.put(blob, params={"op": "CREATE", "user.name": "anyone"}, data=b"bytes", timeout=30)
    assert created.status_code == 201, created.text
    assert requests.get(blob, params={"op": "OPEN"}, timeout=30).content == b"bytes"


def test_every_listening_socket_is_on_loopback(stack: Stack) -> None:
    for name, pid in pids(stack).items():
        listening = [c.laddr for c in psutil.Process(pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        assert listening, name
        assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}, name


def test_a_second_up_changes_nothing(stack: Stack) -> None:
    before = pids(stack)
    Stack(stack.config).up()
    assert pids(stack) == before


def test_up_restarts_only_what_was_killed(stack: Stack) -> None:
    before = pids(stack)
    for name in ("kafka", "hdfs-datanode"):
        killed = psutil.Process(before[name])
        killed.kill()
        killed.wait(10)
    assert stack.status()["kafka"]["state"] == "down"
    assert stack.status()["hdfs"]["state"] == "starting"
    stack.up()
    after = pids(stack)
    assert {name for name in after if after[name] != before[name]} == {"kafka", "hdfs-datanode"}
    assert {service["state"] for service in stack.status().values()} == {"up"}


# --- One service ----------------------------------------------------------------------------------------------------


def test_a_stale_pid_file_is_not_an_error(small: Stack) -> None:
    pid_file = small.services["redis"].daemons[0].pid_file
    pid_file.parent.mkdir(parents=True)
    # This test's own process: alive, but never a service of the stack.
    pid_file.write_text(json.dumps({"pid": os.getpid(), "create_time": 1.0}))
    small.down()
    assert psutil.pid_exists(os.getpid())
    pid_file.write_text("half a fi")
    small.up(["redis"])
    assert client(small).ping()


def test_down_keeps_the_data_and_wipe_removes_it(small: Stack) -> None:
    small.up(["redis"])
    client(small).set("kept", "yes")
    small.down()
    assert small.status()["redis"]["state"] == "down"
    small.up(["redis"])
    assert client(small).get("kept") == b"yes"
    mine = small.config.data_dir / "notes.txt"
    mine.write_text("not the stack's")
    small.down(wipe=True)
    assert mine.exists()
    small.up(["redis"])
    assert client(small).get("kept") is None


def test_redis_keeps_every_write_and_evicts_nothing(small: Stack) -> None:
    small.up(["redis"])
    assert client(small).config_get("appendonly") == {"appendonly": "yes"}
    assert client(small).config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_taken_port_is_named_with_its_owner(small: Stack) -> None:
    with socket.create_server(("127.0.0.1", small.config.ports.redis)), pytest.raises(PortTaken) as caught:
        small.up(["redis"])
    port, me = small.config.ports.redis, psutil.Process()
    assert str(caught.value) == (
        f"redis needs port {port}, which pid {me.pid} ({me.name()}) has taken; stop it, or set STACK_REDIS_PORT"
    )


def test_a_service_that_ends_while_starting_shows_why_at_once(small: Stack) -> None:
    # A folder where Redis 6 wants its append-only file, a file where Redis 7 wants its folder.
    (small.services["redis"].home / "appendonly.aof").mkdir(parents=True)
    (small.services["redis"].home / "appendonlydir").touch()
    with pytest.raises(StartFailed, match=r"redis ended while it was starting; see: scrapy stack logs redis") as caught:
        small.up(["redis"])
    assert any("append-only" in line for line in caught.value.log)
    assert scrapy_stack("logs", "redis", "-n", "5", stack=small).stdout.splitlines() == small.logs("redis", 5)


def test_a_mistake_is_one_line_and_a_non_zero_exit(small: Stack) -> None:
    for arguments, message in (
        (["up", "memcached"], "no service memcached: expected redis, kafka, schema_registry, hdfs"),
        (["status", "-s", "STACK_KAFKA_PORT=many"], "STACK_KAFKA_PORT=many: expected a port, 1 to 65535"),
    ):
        shown = scrapy_stack(*arguments, stack=small)
        assert (shown.returncode, shown.stdout, shown.stderr) == (1, "", message + "\n")


def test_settings_choose_the_folder_and_the_ports(tmp_path: Path) -> None:
    config = StackConfig.from_settings({"STACK_DIR": str(tmp_path), "STACK_REDIS_PORT": "7777"})
    assert config.data_dir == tmp_path
    assert config.ports == replace(Ports(), redis=7777)


# --- Downloads ------------------------------------------------------------------------------------------------------


class Repository(ThreadingHTTPServer):
    """A Maven repository of one file, which can damage it or break off."""

    def __init__(self, content: bytes):
        super().__init__(("127.0.0.1", 0), RepositoryHandler)
        self.content = content
        self.break_after: int | None = None
        self.ranges: list[str | None] = []


class RepositoryHandler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        body = self.server.content[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.break_after])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def repository() -> Iterator[Repository]:
    with Repository(os.urandom(500_000)) as server:
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def artifact(repository: Repository, tmp_path: Path) -> LockedArtifact:
    context = MavenContext(repo_cache=tmp_path, remote_repos={"here": f"http://127.0.0.1:{repository.server_port}"})
    locked = context.project("org.example", "thing").at_version("1.0").artifact()
    return LockedArtifact(locked, hashlib.sha256(repository.content).hexdigest())


def test_a_damaged_download_is_refused_by_name(repository: Repository, artifact: LockedArtifact) -> None:
    repository.content = b"x" + repository.content[1:]
    with pytest.raises(DownloadError, match=r"thing-1\.0\.jar is damaged and was refused"):
        fetch([artifact], artifact.artifact.context)
    assert not artifact.path.exists()
    assert not artifact.part.exists()


def test_an_interrupted_download_goes_on_where_it_was(repository: Repository, artifact: LockedArtifact) -> None:
    repository.break_after = 100_000
    with pytest.raises(DownloadError, match=r"thing-1\.0\.jar could not be downloaded: the connection failed"):
        fetch([artifact], artifact.artifact.context)
    have = artifact.part.stat().st_size
    assert have > 0
    assert not artifact.path.exists()
    repository.break_after = None
    fetch([artifact], artifact.artifact.context)
    assert repository.ranges[-1] == f"bytes={have}-"
    assert artifact.path.read_bytes() == repository.content


def test_a_part_that_was_damaged_earlier_is_fetched_anew(repository: Repository, artifact: LockedArtifact) -> None:
    artifact.part.parent.mkdir(parents=True)
    artifact.part.write_bytes(b"not the beginning")
    fetch([artifact], artifact.artifact.context)
    assert artifact.path.read_bytes() == repository.content


def test_two_processes_fetch_each_file_once(repository: Repository, artifact: LockedArtifact) -> None:
    threads = [threading.Thread(target=fetch, args=([artifact], artifact.artifact.context)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert repository.ranges == [None]
    assert artifact.path.read_bytes() == repository.content


def test_what_is_complete_is_not_asked_for_again(repository: Repository, artifact: LockedArtifact) -> None:
    fetch([artifact], artifact.artifact.context)
    fetch([artifact], artifact.artifact.context)
    assert len(repository.ranges) == 1


def test_the_lock_pins_every_artifact_and_names_no_host() -> None:
    locks = sorted((ROOT / "deploy" / "local" / "jars").glob("*/jgo.lock.toml"))
    assert [lock.parent.name for lock in locks] == ["consumer", "grid", "hdfs", "jmx", "kafka", "registry"]
    for lock in locks:
        text = lock.read_text()
        assert text.count("sha256 = ") == text.count("[[dependencies]]") > 0
        assert "://" not in text


def test_an_unusable_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match=r"STACK_DIR=.*file/stack: "):
        Stack(StackConfig(tmp_path / "file" / "stack")).up(["redis"])
