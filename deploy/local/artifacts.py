"""The locked jars: fetched concurrently, checked by sha256, kept in a cache that checkouts and processes share.

A file has its final name only once its sha256 matched the lock; before that it is NAME.part, which a later run
continues. The repositories are jgo's: its configuration file may name a mirror.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import requests
from filelock import FileLock
from jgo.config import GlobalSettings
from jgo.env import LockedDependency, LockFile
from jgo.maven import Artifact, MavenContext

from deploy.local.errors import DamagedDownload, DownloadError
from deploy.local.progress import Progress, QuietProgress

JARS = Path(__file__).parent / "jars"
CONNECTIONS = 8
CHUNK = 1 << 16
TIMEOUT = 30
ATTEMPTS = 3


@dataclass(frozen=True)
class LockedArtifact:
    """One file of a lock: what Maven calls it and what its bytes must hash to."""

    artifact: Artifact
    sha256: str

    @property
    def path(self) -> Path:
        path = self.artifact.cached_path
        assert path is not None, "maven_context always sets a repo_cache"
        return path

    @property
    def part(self) -> Path:
        return self.path.with_name(self.path.name + ".part")


def maven_context(repo_cache: Path) -> MavenContext:
    """A context that stores into `repo_cache` and reads from jgo's configured repositories."""
    repositories = GlobalSettings.load().repositories or None
    return MavenContext(repo_cache=repo_cache, remote_repos=repositories, timeout=TIMEOUT)


def locked_artifacts(name: str, context: MavenContext) -> list[LockedArtifact]:
    """What jars/`name`/jgo.lock.toml lists, in class path order."""
    path = JARS / name / "jgo.lock.toml"
    return [_bind(locked, context) for locked in LockFile.load(path).dependencies]


def _bind(locked: LockedDependency, context: MavenContext) -> LockedArtifact:
    if not locked.sha256:
        raise DownloadError(f"{locked.artifactId} {locked.version} has no sha256 in its lock: refusing to fetch it")
    component = context.project(locked.groupId, locked.artifactId).at_version(locked.version)
    return LockedArtifact(component.artifact(locked.classifier or "", locked.packaging), locked.sha256)


def fetch(artifacts: Iterable[LockedArtifact], context: MavenContext, progress: Progress | None = None) -> None:
    """Make every artifact present. Raises DownloadError for the first that cannot be had as it was locked."""
    artifacts = list(artifacts)
    if all(item.path.exists() for item in artifacts):
        return
    context.repo_cache.mkdir(parents=True, exist_ok=True)
    with FileLock(context.repo_cache / ".lock"):
        missing = [item for item in artifacts if not item.path.exists()]
        with progress or QuietProgress() as shown:
            Downloader(context, shown).run(missing)


class Downloader:
    """Fetches several artifacts at once; the first failure, or Ctrl-C, stops the others where they are."""

    def __init__(self, context: MavenContext, progress: Progress):
        self.context = context
        self.progress = progress
        self.stopped = threading.Event()

    def run(self, missing: list[LockedArtifact]) -> None:
        self.progress.begin(len(missing))
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            downloads = [pool.submit(self._download, item) for item in missing]
            try:
                for download in as_completed(downloads):
                    download.result()
            except BaseException:
                self.stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _download(self, item: LockedArtifact) -> None:
        problem = "no repository is configured"
        for repository in list(self.context.remote_repos.values()) * ATTEMPTS:
            resumed = item.part.exists()
            try:
                self._download_from(repository, item)
                return
            except (requests.RequestException, OSError) as error:
                problem = _reason(error)
            except DamagedDownload as error:
                # The part of an earlier run may be what was damaged; a whole download that is, is refused.
                if not resumed:
                    raise
                problem = str(error)
            if self.stopped.is_set():
                return
        raise DownloadError(f"{item.path.name} could not be downloaded: {problem}; run the command again to go on")

    def _download_from(self, repository: str, item: LockedArtifact) -> None:
        item.part.parent.mkdir(parents=True, exist_ok=True)
        have = item.part.stat().st_size if item.part.exists() else 0
        url = f"{repository}/{item.artifact.component.path_prefix.as_posix()}/{item.artifact.filename}"
        # Identity, so that a length and an offset mean the file's own bytes.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=self.context.timeout) as response:
            # 416: the part is the whole file, or longer; its sha256 tells.
            if response.status_code != requests.codes.requested_range_not_satisfiable:
                response.raise_for_status()
                self._save(response, item)
        if not self.stopped.is_set():
            _accept(item)
            self.progress.finished(item.path.name)

    def _save(self, response: requests.Response, item: LockedArtifact) -> None:
        self.progress.expect(int(response.headers.get("Content-Length", 0)))
        resumed = response.status_code == requests.codes.partial_content
        with item.part.open("ab" if resumed else "wb") as part:
            for chunk in response.iter_content(CHUNK):
                part.write(chunk)
                self.progress.advance(len(chunk))
                if self.stopped.is_set():
                    return
            part.flush()
            os.fsync(part.fileno())


def _reason(error: Exception) -> str:
    """What went wrong, without the address, which a message need not repeat."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the repository answered {error.response.status_code}"
    if isinstance(error, requests.RequestException):
        return f"the connection failed ({type(error).__name__})"
    return str(error)


def _accept(item: LockedArtifact) -> None:
    """Give the file its final name, or throw it away and say which it was."""
    with item.part.open("rb") as part:
        found = hashlib.file_digest(part, "sha256").hexdigest()
    if found != item.sha256:
        item.part.unlink()
        raise DamagedDownload(f"{item.path.name} is damaged and was refused: its sha256 is {found}, not {item.sha256}")
    os.replace(item.part, item.path)
