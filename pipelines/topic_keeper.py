"""Looks after topics that go while a worker runs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog

from crawlers.exceptions import SeineError

log = structlog.get_logger("seine.kafka")

_LOOK_AGAIN = 5.0
"""Seconds between two looks at topics that are missing."""


class TopicKeeper:
    """A missing topic is created again where KAFKA_CREATE_TOPICS allows it; else the log has the command."""

    def __init__(self, settings: Any):
        self._settings = settings
        self._looked_at = -_LOOK_AGAIN
        self._task: asyncio.Task[None] | None = None

    def restore(self) -> None:
        """A topic is missing: see to it, in the background, once in a while."""
        if time.monotonic() - self._looked_at < _LOOK_AGAIN or (self._task is not None and not self._task.done()):
            return
        self._looked_at = time.monotonic()
        self._task = asyncio.create_task(self._restore())

    async def _restore(self) -> None:
        from pipelines.topics import contract_topics, ensure_topics  # these know of deliveries, and they of producers

        try:
            await asyncio.to_thread(ensure_topics, self._settings)
        except SeineError as error:
            log.error("topics missing", why=str(error))
        else:
            log.warning("topics are there", topics=list(contract_topics(self._settings)))
