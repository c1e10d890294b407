"""Spans of time as people write them in commands: 90s, 30m, 12h, 7d."""

from __future__ import annotations

import re

from crawlers.exceptions import UserError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds_of(text: str) -> float:
    """The seconds in `text`. UserError where it is not a number and its unit."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if match is None:
        raise UserError(f"{text}: expected a number and its unit, such as 90s, 30m, 12h or 7d")
    return float(match[1]) * _SECONDS[match[2]]
