"""The Lua scripts, as commands that run them."""

from __future__ import annotations

import hashlib
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"
_SHARED = ("common", "tallies", "products")
"""What stands before every script, in this order."""
_HEAD = "\n".join((_FOLDER / f"{name}.lua").read_text(encoding="utf-8") for name in _SHARED)

SOURCES = {
    path.stem: f"{_HEAD}\n{path.read_text(encoding='utf-8')}"
    for path in sorted(_FOLDER.glob("*.lua"))
    if path.stem not in _SHARED
}
_DIGESTS = {name: hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest() for name, source in SOURCES.items()}

Command = tuple[str | bytes | int | float, ...]


def run(script: str, shard: str, crawl: str, *arguments: str | bytes | float) -> Command:
    """The command that runs `script` on the shard and crawl of those key roots."""
    return ("EVALSHA", _DIGESTS[script], 2, shard, crawl, *arguments)


def load() -> list[Command]:
    """The commands that make a server know every script."""
    return [("SCRIPT", "LOAD", source) for source in SOURCES.values()]
