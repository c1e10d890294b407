"""A real HDFS, and what an operator does to it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

from deploy.local import Stack, StackConfig
from deploy.local.hdfs import HdfsService
from tests.servers.ports import stack_ports

_DFS_ADMIN = "org.apache.hadoop.hdfs.tools.DFSAdmin"


class HdfsServer:
    """One NameNode and one DataNode on loopback."""

    def __init__(self, folder: Path, kind: type[HdfsService] = HdfsService):
        self._stack = Stack(StackConfig(folder, ports=stack_ports()), [kind])
        service = self._stack.services["hdfs"]
        assert isinstance(service, HdfsService)
        self.service = service
        self.port = self._stack.config.ports.hdfs
        """Of the NameNode's WebHDFS."""

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.down(wipe=True)

    def url(self, path: str) -> str:
        """A claim store in the folder `path`."""
        return f"webhdfs://127.0.0.1:{self.port}/{path}"

    def up(self) -> None:
        self._stack.up(["hdfs"])

    def down(self) -> None:
        self._stack.down()

    def enter_safe_mode(self) -> None:
        self._administer("-safemode", "enter")

    def leave_safe_mode(self) -> None:
        self._administer("-safemode", "leave")

    def limit_space(self, path: str, size: int) -> None:
        """Set the space quota of a folder, in bytes; 128 MB are needed to write anything. -1 lifts it."""
        self.ask("PUT", path, "SETQUOTA", namespacequota=str(2**63 - 1), storagespacequota=str(size))

    def make_folder(self, path: str) -> None:
        self.ask("PUT", path, "MKDIRS")

    def ask(self, method: str, path: str, op: str, **params: str) -> Any:
        """One call of WebHDFS, as its superuser."""
        query = "".join(f"&{name}={value}" for name, value in params.items())
        url = f"http://127.0.0.1:{self.port}/webhdfs/v1/{path}?op={op}{query}"
        with urlopen(Request(url, method=method), timeout=20) as response:
            return json.loads(response.read() or b"null")

    def _administer(self, *arguments: str) -> None:
        command = self.service.java_command(_DFS_ADMIN, arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
