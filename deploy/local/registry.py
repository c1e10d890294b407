"""The schema registry: Apicurio, which speaks Confluent's API. Schemas are kept in an H2 file."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from deploy.local.config import HOST
from deploy.local.daemon import Daemon
from deploy.local.http import get
from deploy.local.java import java
from deploy.local.service import Service

HEAP_MB = 384


class RegistryService(Service):
    name = "schema_registry"
    jars = "registry"

    @property
    def endpoint(self) -> dict[str, str]:
        return {"url": f"http://{HOST}:{self.ports.registry}/apis/ccompat/v7"}

    @property
    def environment(self) -> dict[str, str]:
        return {"SCHEMA_REGISTRY_URL": self.endpoint["url"], "SCHEMA_REGISTRY_AUTO_REGISTER": "1"}

    @property
    def listens(self) -> dict[str, int]:
        ports = self.ports
        return {
            "STACK_REGISTRY_PORT": ports.registry,
            "STACK_REGISTRY_MANAGEMENT_PORT": ports.registry_management,
        }

    @cached_property
    def daemons(self) -> list[Daemon]:
        return [self.java_daemon("schema_registry", self._java, [self._program])]

    def _java(self, options: Sequence[str]) -> list[str]:
        properties = {
            "quarkus.http.host": HOST,
            "quarkus.http.port": str(self.ports.registry),
            "quarkus.management.host": HOST,
            "quarkus.management.port": str(self.ports.registry_management),
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": f"jdbc:h2:file:{self.home}/registry",
        }
        return java(["-jar", str(self._program)], HEAP_MB, properties, options)

    def prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        if not self._program.exists():
            unpack(self.artifacts()[0].path, self._program.parent)

    def answers(self) -> bool:
        return get(f"{self.endpoint['url']}/subjects")[0] == 200

    @cached_property
    def _program(self) -> Path:
        # The name carries the contents' hash: a new version unpacks beside the old one.
        return self.config.cache_dir / "unpacked" / f"registry-{self.artifacts()[0].sha256[:16]}" / "quarkus-run.jar"


def unpack(archive: Path, folder: Path) -> None:
    """Unpack `archive` to `folder`, which appears only when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if folder.exists():
            return
        temporary = tempfile.mkdtemp(dir=folder.parent)
        try:
            with tarfile.open(archive) as tar:
                # Python 3.11 before .4 knows no filters and ignores this; the archive is the one that its lock names.
                tar.extraction_filter = getattr(tarfile, "data_filter", None)
                tar.extractall(temporary)  # noqa: S202 - the line above is its filter
            os.replace(temporary, folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
