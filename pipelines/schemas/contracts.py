"""What is written where: each committed schema, the item that it describes and the topic that carries it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crawlers.items import Product
from crawlers.page import Page


@dataclass(frozen=True, slots=True)
class Contract:
    """`name`.avsc describes the values of the topic that the setting `topic` names.

    `item` is the dataclass that holds one, None where there is no such class. An empty setting turns its topic off.
    """

    name: str
    item: type | None
    topic: str

    def subject(self, settings: Any) -> str:
        """The schema's subject in the registry, by topic name."""
        return f"{settings[self.topic]}-value"


CONTRACTS = (
    Contract("products", Product, "KAFKA_TOPIC_PRODUCTS"),
    Contract("pages", Page, "KAFKA_TOPIC_PAGES"),
)
