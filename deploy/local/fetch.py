"""`python -m deploy.local.fetch NAME FILE`: the one jar that jars/NAME locks, checked by its sha256, as FILE."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from deploy.local.artifacts import fetch, locked_artifacts, maven_context
from deploy.local.errors import StackError


def main(name: str, target: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        context = maven_context(Path(folder))
        [jar] = locked_artifacts(name, context)
        try:
            fetch([jar], context)
        except StackError as error:
            print(f"fetch: {error}", file=sys.stderr)
            return 1
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(jar.path, target)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
