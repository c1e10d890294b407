"""Which letters are meant: by stage, error, domain and time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Self

from crawlers.exceptions import UserError

if TYPE_CHECKING:
    import argparse

    from crawlers.dead_letters.letter import Letter

STAGES = ("validation", "claim check", "serialization", "delivery", "pipeline", "download", "spider", "frontier")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Selection:
    """None is any."""

    stage: str | None = None
    error: str | None = None
    domain: str | None = None
    since: int | None = None
    """Milliseconds since the epoch."""

    @classmethod
    def of(cls, opts: argparse.Namespace) -> Self:
        """What the options name. UserError where they name nothing that can be."""
        if opts.stage is not None and opts.stage not in STAGES:
            raise UserError(f"--stage {opts.stage}: expected one of {', '.join(STAGES)}")
        return cls(opts.stage, opts.error, opts.domain, None if opts.since is None else _moment(opts.since))

    def has(self, letter: Letter) -> bool:
        """Whether it is meant."""
        return (
            self.stage in (None, letter.stage)
            and self.error in (None, letter.error)
            and self.domain in (None, letter.domain, letter.budget)
            and (self.since is None or letter.timestamp >= self.since)
        )


def _moment(text: str) -> int:
    """Of 90m, 12h or 7d ago, or of an ISO 8601 date or time, UTC unless it says otherwise."""
    if ago := re.fullmatch(r"(\d+)([smhdw])", text):
        return round((time() - int(ago[1]) * _UNITS[ago[2]]) * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"--since {text}: expected a time as 90m, 12h, 7d, or 2026-01-31T12:00") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
