"""HDFS: a NameNode and a DataNode, spoken to over WebHDFS."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from xml.sax.saxutils import escape

from deploy.local.config import HOST
from deploy.local.daemon import Daemon
from deploy.local.http import get
from deploy.local.java import class_path, java
from deploy.local.service import Service

HEAP_MB = 256
NAMENODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
DATANODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"
STATE = "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"


class HdfsService(Service):
    name = "hdfs"
    jars = "hdfs"

    @property
    def endpoint(self) -> dict[str, str]:
        return {"url": f"webhdfs://{HOST}:{self.ports.hdfs}"}

    @property
    def environment(self) -> dict[str, str]:
        return {"CLAIM_CHECK_URL": f"{self.endpoint['url']}/seine"}

    @property
    def listens(self) -> dict[str, int]:
        return {
            "STACK_HDFS_PORT": self.ports.hdfs,
            "STACK_HDFS_NAMENODE_PORT": self.ports.hdfs_namenode,
            "STACK_HDFS_DATANODE_PORT": self.ports.hdfs_datanode,
            "STACK_HDFS_DATANODE_HTTP_PORT": self.ports.hdfs_datanode_http,
            "STACK_HDFS_DATANODE_IPC_PORT": self.ports.hdfs_datanode_ipc,
        }

    @cached_property
    def daemons(self) -> list[Daemon]:
        return [
            self.java_daemon("hdfs-namenode", partial(self.java_command, NAMENODE, ()), self._jars),
            self.java_daemon("hdfs-datanode", partial(self.java_command, DATANODE, ()), self._jars),
        ]

    def prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(self._conf, "w") as conf:
            # The daemons insist on finding these folders, which hold their web pages in the full distribution.
            for folder in ("webapps/", "webapps/hdfs/", "webapps/datanode/"):
                conf.writestr(folder, "")
            conf.writestr("core-site.xml", site(self.core_site))
            conf.writestr("hdfs-site.xml", site(self.hdfs_site))
        if not (self.home / "name" / "current" / "VERSION").exists():
            self.run_once("format its store", self.java_command(NAMENODE, ("-format", "-nonInteractive", "-force")))

    def answers(self) -> bool:
        """Out of safe mode, with the DataNode registered and its own HTTP port open."""
        status, body = get(f"http://{HOST}:{self.ports.hdfs}{STATE}")
        if status != 200:
            return False
        (state,) = json.loads(body)["beans"] or [{}]
        if state.get("FSState") != "Operational" or not state.get("NumLiveDataNodes"):
            return False
        return get(f"http://{HOST}:{self.ports.hdfs_datanode_http}/jmx?qry=java.lang:type=ClassLoading")[0] == 200

    @property
    def _conf(self) -> Path:
        # A jar, and last on the class path: a folder there, or a change before the end, would void the class archive.
        return self.home / "conf.jar"

    @property
    def core_site(self) -> dict[str, str]:
        return {
            "fs.defaultFS": f"hdfs://{HOST}:{self.ports.hdfs_namenode}",
            "hadoop.tmp.dir": str(self.home / "tmp"),
            # The DataNode starts beside the NameNode and asks until that answers.
            "ipc.client.connect.retry.interval": "100",
            "ipc.client.connect.max.retries": "100",
        }

    @property
    def hdfs_site(self) -> dict[str, str]:
        return {
            "dfs.replication": "1",
            "dfs.namenode.name.dir": f"file://{self.home}/name",
            "dfs.datanode.data.dir": f"file://{self.home}/data",
            "dfs.namenode.http-address": f"{HOST}:{self.ports.hdfs}",
            "dfs.datanode.hostname": HOST,
            "dfs.datanode.address": f"{HOST}:{self.ports.hdfs_datanode}",
            "dfs.datanode.http.address": f"{HOST}:{self.ports.hdfs_datanode_http}",
            "dfs.datanode.ipc.address": f"{HOST}:{self.ports.hdfs_datanode_ipc}",
            # One user, one machine: any user name in a WebHDFS call may write.
            "dfs.permissions.enabled": "false",
            # By default a restart waits 30 s in safe mode, and closing a file starts at 400 ms.
            "dfs.namenode.safemode.extension": "0",
            "dfs.client.block.write.locateFollowingBlock.initial.delay.ms": "5",
        }

    @cached_property
    def _jars(self) -> list[Path]:
        return [item.path for item in self.artifacts()]

    def java_command(self, main: str, arguments: Sequence[str], options: Sequence[str] = ()) -> list[str]:
        """The command line of a program of Hadoop's."""
        return java(["-cp", class_path([*self._jars, self._conf]), main, *arguments], HEAP_MB, options=options)


def site(properties: Mapping[str, str]) -> str:
    """Hadoop's configuration format."""
    rows = "".join(
        f"  <property><name>{name}</name><value>{escape(value)}</value></property>\n"
        for name, value in properties.items()
    )
    return f"<configuration>\n{rows}</configuration>\n"
