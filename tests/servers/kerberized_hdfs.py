"""A real HDFS that knows its users by Kerberos alone: RPC by SASL, WebHDFS by SPNEGO, DataNodes by tokens."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Self
from urllib.request import urlopen

from deploy.local import StackConfig
from deploy.local.hdfs import HdfsService
from tests.servers import kdc
from tests.servers.hdfs import HdfsServer
from tests.servers.kdc import REALM, Kdc

HOST = "localhost"
"""Kerberos knows services by name."""
SUPERUSER, STRANGER = "seine", "stranger"
"""Who may write anywhere, and who nowhere."""
WEB = f"HTTP/{HOST}"
"""The principal of WebHDFS."""
_TOKENS = "Hadoop:service=NameNode,name=FSNamesystemState"
_DAEMONS = f"hdfs/{HOST}"
_GSSAPI = "jdk.security.jgss"
"""The module by which the daemons speak with each other; the JRE that the stack brings along has none."""


def missing() -> str:
    """What has to be installed before there can be one; empty where nothing is missing."""
    told = [kdc.missing()] if kdc.missing() else []
    if not _java_with_gssapi():
        told.append("apt-get install default-jre-headless")
    return " and ".join(told)


@cache
def _java_with_gssapi() -> str:
    """The path of a complete Java; empty where there is none."""
    java = shutil.which("java")
    if java is None:
        return ""
    modules = subprocess.run([java, "--list-modules"], capture_output=True, text=True).stdout
    return java if _GSSAPI in modules else ""


class KerberizedHdfsService(HdfsService):
    """Its KDC must run before it starts."""

    def __init__(self, config: StackConfig):
        super().__init__(config)
        self.kdc = Kdc(config.data_dir / "kdc")
        self._daemons_keytab = self.kdc.keytab(_DAEMONS)
        self._web_keytab = self.kdc.keytab(WEB)

    @property
    def core_site(self) -> dict[str, str]:
        return {
            **super().core_site,
            "hadoop.security.authentication": "kerberos",
            "hadoop.http.filter.initializers": "org.apache.hadoop.hdfs.web.AuthFilterInitializer",
            "hadoop.http.authentication.type": "kerberos",
            "hadoop.http.authentication.kerberos.principal": f"{WEB}@{REALM}",
            "hadoop.http.authentication.kerberos.keytab": str(self._web_keytab),
            "hadoop.http.authentication.kerberos.endpoint.whitelist": "/jmx",  # by which a start is awaited
            "hadoop.user.group.static.mapping.overrides": f"{SUPERUSER}=supergroup;{STRANGER}=nobody;hdfs=supergroup",
        }

    @property
    def hdfs_site(self) -> dict[str, str]:
        return {
            **super().hdfs_site,
            "dfs.permissions.enabled": "true",
            "dfs.block.access.token.enable": "true",
            "dfs.namenode.kerberos.principal": f"{_DAEMONS}@{REALM}",
            "dfs.namenode.keytab.file": str(self._daemons_keytab),
            "dfs.datanode.kerberos.principal": f"{_DAEMONS}@{REALM}",
            "dfs.datanode.keytab.file": str(self._daemons_keytab),
            "dfs.web.authentication.kerberos.principal": f"{WEB}@{REALM}",
            "dfs.web.authentication.kerberos.keytab": str(self._web_keytab),
            # A DataNode wants ports below 1024, or TLS, before it serves in this mode.
            "ignore.secure.ports.for.testing": "true",
        }

    def java_command(self, main: str, arguments: Sequence[str], options: Sequence[str] = ()) -> list[str]:
        """By another JVM, for which `options` name no class archive."""
        command = super().java_command(main, arguments, [f"-Djava.security.krb5.conf={self.kdc.config}"])
        return [_java_with_gssapi(), *command[1:]]


class KerberizedHdfs(HdfsServer):
    """The HDFS and its KDC; `keytab` and `strangers_keytab` have the keys of the two users."""

    service: KerberizedHdfsService

    def __init__(self, folder: Path):
        super().__init__(folder, KerberizedHdfsService)
        self.kdc = self.service.kdc
        self.keytab = self.kdc.keytab(SUPERUSER)
        self.strangers_keytab = self.kdc.keytab(STRANGER)

    def __enter__(self) -> Self:
        with ExitStack() as started:
            started.enter_context(self.kdc)
            started.callback(super().__exit__)
            self.up()
            self._things = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._things.close()

    def url(self, path: str) -> str:
        return f"webhdfs://{HOST}:{self.port}/{path}"

    def tokens(self) -> int:
        """How many delegation tokens the NameNode keeps."""
        with urlopen(f"http://{HOST}:{self.port}/jmx?qry={_TOKENS}", timeout=20) as response:
            return json.load(response)["beans"][0]["CurrentTokensCount"]
