"""The real services of a run, and topics that no other run knows."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scrapy.settings import Settings
from scrapy.utils.project import get_project_settings

from deploy.local import Ports, Stack, StackConfig
from pipelines.registry import Registry
from pipelines.topics import ensure_topics


@contextmanager
def running_stack(folder: Path, services: Iterable[str]) -> Iterator[dict[str, str]]:
    """The environment variables that point Seine at a stack with its data in `folder`; it ends with the block."""
    stack = Stack(StackConfig(folder, ports=Ports.free()))
    try:
        stack.up(services)
        yield {**stack.env(), "KAFKA_CREATE_TOPICS": "1", "SCHEMA_REGISTRY_AUTO_REGISTER": "1"}
    finally:
        stack.down(wipe=True)


def settings_of(env: dict[str, str]) -> Settings:
    """The project's settings, as a process with those environment variables has them."""
    settings = get_project_settings()
    settings.setdict(env, priority="cmdline")
    return settings


def own_topics(env: dict[str, str]) -> tuple[dict[str, str], int]:
    """(`env` with the names of topics that are there and empty, the schema id of their products)."""
    name = f"bench-{secrets.token_hex(4)}"
    topics = {"PRODUCTS": name, "DEAD_LETTERS": f"{name}.dlq", "LEDGER": f"{name}.ledger"}
    named = {**env, **{f"KAFKA_TOPIC_{kind}": topic for kind, topic in topics.items()}}
    ensure_topics(settings_of({**named, "KAFKA_DELIVERY": "exactly_once"}))
    return named, Registry(env["SCHEMA_REGISTRY_URL"]).schema_id(f"{name}-value", "products", register=True)
