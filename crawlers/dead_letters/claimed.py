"""Values of letters that were too large for Kafka, from the claim store."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Self

from crawlers.exceptions import StartupError
from pipelines.claims.claims import files_of
from pipelines.claims.files import StoreAway
from pipelines.claims.store import ClaimStore

if TYPE_CHECKING:
    from crawlers.dead_letters.letter import Letter


class ClaimedValues:
    """`async with`: the store of CLAIM_CHECK_URL, where one is configured."""

    def __init__(self, settings: Any):
        url = settings.get("CLAIM_CHECK_URL")
        self._store = ClaimStore(files_of(settings)) if url else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._store is not None:
            await self._store.files.close()

    async def value_of(self, letter: Letter, value: bytes | None) -> bytes | None:
        """`value`, or what it is the claim of; None where that is gone. StartupError where the store fails."""
        if not letter.claim or value is None or self._store is None:
            return value
        sha256 = str(json.loads(value)["sha256"])
        try:
            whole = b"".join([part async for part in self._store.read(sha256)])
        except FileNotFoundError:
            return None
        except StoreAway as error:
            raise StartupError(f"the claim store (CLAIM_CHECK_URL) does not give {letter.claim}: {error}") from None
        return whole if hashlib.sha256(whole).hexdigest() == sha256 else None
