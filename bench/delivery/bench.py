"""What every part is given."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bench:
    env: dict[str, str]
    """Points Seine at the stack."""
    folder: Path
    """For files of the run's own."""
    rounds: int
    records: int
    """That a side delivers in a round."""
    seconds: float
    """That a crawl at half load lasts."""

    def say(self, text: str) -> None:
        """Progress, beside the table."""
        print(f"  {text}", file=sys.stderr, flush=True)
