"""`<meta http-equiv="refresh">` and the Refresh header: where a page leads by them so soon, it is a redirect."""

from __future__ import annotations

import re

SOON = 1.0
"""Seconds; a page that shows for longer is one to be read."""
LATE = 5.0
"""Seconds that a busy machine may take to start it. A page that keeps it from starting counts as it is."""
_DELAY = re.compile(r"\s*(\d+\.?\d*|\.\d+)")


def patience_with(refresh: str) -> float:
    """Seconds within which such a refresh starts, where it is a redirect; else 0."""
    delay = _DELAY.match(refresh)
    return float(delay[1]) + LATE if delay and float(delay[1]) <= SOON else 0.0
