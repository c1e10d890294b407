"""HDFS: a NameNode and a DataNode, spoken to over WebHDFS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from xml.sax.saxutils import escape

from deploy.local.config import HOST
from deploy.local.daemon import Daemon
from deploy.local.http import get
from deploy.local.java import class_path, java
from deploy.local.service import Service, write

HEAP_MB = 256
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
            self.daemon("hdfs-namenode", self._java("org.apache.hadoop.hdfs.server.namenode.NameNode")),
            self.daemon("hdfs-datanode", self._java("org.apache.hadoop.hdfs.server.datanode.DataNode")),
        ]

    def prepare(self) -> None:
        # The daemons insist on finding these folders, which hold their web pages in the full distribution.
        for webapp in ("hdfs", "datanode"):
            (self._conf / "webapps" / webapp).mkdir(parents=True, exist_ok=True)
        write(self._conf / "core-site.xml", site(self._core()))
        write(self._conf / "hdfs-site.xml", site(self._hdfs()))
        if not (self.home / "name" / "current" / "VERSION").exists():
            namenode = "org.apache.hadoop.hdfs.server.namenode.NameNode"
            self.run_once("format its store", self._java(namenode, "-format", "-nonInteractive", "-force"))

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
        return self.home / "conf"

    def _core(self) -> dict[str, str]:
        return {
            "fs.defaultFS": f"hdfs://{HOST}:{self.ports.hdfs_namenode}",
            "hadoop.tmp.dir": str(self.home / "tmp"),
            # The DataNode starts beside the NameNode and asks until that answers.
            "ipc.client.connect.retry.interval": "100",
            "ipc.client.connect.max.retries": "100",
        }

    def _hdfs(self) -> dict[str, str]:
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

    def _java(self, main: str, *arguments: str) -> list[str]:
        jars = class_path([self._conf, *(item.path for item in self.artifacts())])
        return java(["-cp", jars, main, *arguments], HEAP_MB)


def site(properties: Mapping[str, str]) -> str:
    """Hadoop's configuration format."""
    rows = "".join(
        f"  <property><name>{name}</name><value>{escape(value)}</value></property>\n"
        for name, value in properties.items()
    )
    return f"<configuration>\n{rows}</configuration>\n"
