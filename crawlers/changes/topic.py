"""What is known of the topic that products go to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from crawlers.changes.notes import Remembered

_LONGEST_LIFE = 1 << 31


def name_of(id_: str) -> str:
    """The name of the topic with that `id`, see Topic."""
    return id_.rpartition(":")[0]


class Topic(NamedTuple):
    """The facts that decide how long a record may stand for a product."""

    id: str = ""
    """Its name and Kafka's id of it: one that is deleted and made anew is another. '' without Kafka."""
    retention: float = math.inf
    """Seconds after which a record may be deleted."""

    @property
    def life(self) -> int:
        """Seconds that a product is remembered; 0 is for ever."""
        return 0 if math.isinf(self.retention) else min(_LONGEST_LIFE, math.ceil(self.retention))

    def seconds_left(self, remembered: Remembered, now: float) -> float:
        """Until half of the retention has passed since a product's last record; `now` is since the epoch."""
        return self.retention / 2 - remembered.hours_since(now) * 3600
