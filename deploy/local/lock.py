"""`python -m deploy.local.lock [SERVICE…]`: resolve each jgo.toml and write its jgo.lock.toml.

Run it after changing a version; it is the only thing that reads POMs.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from jgo.env import EnvironmentSpec, LockedDependency, LockFile
from jgo.maven import Dependency, MavenContext

from deploy.local.artifacts import JARS, maven_context
from deploy.local.config import default_cache_dir

FETCHED_AS_IS = ("tar.gz", "zip")
"""Packagings of complete distributions: their dependencies are inside."""


def resolve(spec: EnvironmentSpec, context: MavenContext) -> list[Dependency]:
    """The spec's artifacts and, except for distributions, everything they need at run time, in class path order."""
    excluded = [context.project(*name.split(":")) for name in spec.exclusions]
    wanted = [context.create_dependency(coordinate, excluded) for coordinate in spec.coordinates]
    if all(dependency.type in FETCHED_AS_IS for dependency in wanted):
        return wanted
    inputs, transitive = context.resolver.resolve(wanted)
    return inputs + transitive


def write_lock(folder: Path, context: MavenContext) -> int:
    """Write `folder`/jgo.lock.toml. Returns the number of artifacts locked."""
    spec = EnvironmentSpec.load(folder / "jgo.toml")
    dependencies = resolve(spec, context)
    with ThreadPoolExecutor(8) as pool:
        locked = list(pool.map(LockedDependency.from_dependency, dependencies))
    lock = LockFile(locked, environment_name=spec.name)
    # The same resolution writes the same file.
    lock.generated = datetime.fromtimestamp(0, UTC)
    lock.save(folder / "jgo.lock.toml")
    return len(locked)


def main(names: list[str]) -> None:
    # Not the folder that `up` trusts: jgo writes under the final name before a file is complete.
    context = maven_context(default_cache_dir() / "resolved")
    for name in names or sorted(folder.name for folder in JARS.iterdir() if folder.is_dir()):
        print(f"{name}: {write_lock(JARS / name, context)} artifacts locked")


if __name__ == "__main__":
    main(sys.argv[1:])
