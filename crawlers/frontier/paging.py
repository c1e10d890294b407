"""Redis's collections page by page: no command here asks for all of one at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crawlers.frontier.connection import Connection

_PAGE = 1000
"""What one call looks at."""


async def pages(
    connection: Connection, command: str, *key: str, match: bytes | str | None = None, count: int = _PAGE
) -> AsyncIterator[list[bytes]]:
    """The pages of SCAN, or of HSCAN, SSCAN or ZSCAN on `key`, as Redis replies; none is empty."""
    cursor: Any = b"0"
    matching = () if match is None else ("MATCH", match)
    while True:
        cursor, page = await connection.one(command, *key, cursor, *matching, "COUNT", count)
        if page:
            yield page
        if cursor == b"0":
            return


def pairs(page: list[bytes]) -> list[tuple[bytes, bytes]]:
    """A page of HSCAN or ZSCAN as (field or member, value or score)."""
    return list(zip(page[::2], page[1::2], strict=True))


def escaped(text: str | bytes) -> bytes:
    """`text` as a pattern of MATCH that only it matches."""
    raw = text.encode() if isinstance(text, str) else text
    return b"".join(b"\\%c" % byte if byte in b"*?[]\\^-" else b"%c" % byte for byte in raw)
