"""The users that deploy/compose/make-secrets gives Redis, in a real one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from tests.servers.ports import HOST
from tests.servers.redis import RedisServer
from tests.servers.redis_tls import binary_with_tls
from tests.support import ROOT


class ServerWithUsers(RedisServer):
    """With an append-only file that has every write; its health is asked by nobody that it does not know."""

    def __init__(self, folder: Path, secrets: Path):
        users = folder / "users.acl"
        # So that the test's own look at the server's health is let in.
        users.write_text((secrets / "redis_users").read_text() + "user looker on nopass +ping +info\n")
        super().__init__(folder, binary_with_tls(), appendonly="yes", appendfsync="always", aclfile=str(users))

    def client(self) -> Redis:
        return self.client_of("looker", "any")

    def client_of(self, user: str, password: str) -> Redis:
        return Redis(HOST, self.port, username=user, password=password, protocol=2, socket_timeout=10)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    subprocess.run([ROOT / "deploy/compose/make-secrets", folder], check=True, capture_output=True)
    return folder


def password(secrets: Path, user: str) -> str:
    return (secrets / f"redis_{user}_password").read_text().strip()


def test_what_a_worker_wrote_is_there_after_a_kill(secrets: Path, tmp_path: Path) -> None:
    """Scripts' writes are transactions in the append-only file, which Redis 7 reads as its default user."""
    (tmp_path / "redis").mkdir()
    with ServerWithUsers(tmp_path / "redis", secrets) as server:
        script = "redis.call('SET', KEYS[1], '1') redis.call('SADD', KEYS[2], 'a')"
        worker = server.client_of("worker", password(secrets, "worker"))
        sha = worker.script_load(script)
        worker.evalsha(sha, 2, "seine:one", "seine:two")
        server.kill()
        server.start()
        assert worker.get("seine:one") == b"1"
        assert worker.smembers("seine:two") == {b"a"}


def test_users_may_do_what_they_are_for(secrets: Path, tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    with ServerWithUsers(tmp_path / "redis", secrets) as server:
        worker, status, probe = (
            server.client_of(name, password(secrets, name)) for name in ("worker", "status", "probe")
        )
        worker.set("seine:key", "1")
        assert status.get("seine:key") == b"1"
        assert probe.ping()
        refused = [
            lambda: worker.set("other", "1"),
            worker.flushall,
            lambda: status.set("seine:key", "2"),
            lambda: probe.get("seine:key"),
        ]
        for call in refused:
            with pytest.raises(NoPermissionError):
                call()
        for user in ("default", "worker"):
            with pytest.raises(AuthenticationError):
                server.client_of(user, "").ping()
        with pytest.raises(AuthenticationError):
            Redis(HOST, server.port, protocol=2).ping()
