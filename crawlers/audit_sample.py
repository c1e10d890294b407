"""Which fetches are audited: a share of each outcome, the same ones whenever they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from crawlers.exceptions import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OUTCOMES = ("delivered", "expanded", "redirected", "retried", "empty", "filtered", "dead")
_ALL = 1 << 64


class AuditSample:
    """The share of each outcome; of those that are not named, all.

    Chosen by fingerprint: a page that is audited for a share is audited for any larger one too, in every crawl.
    """

    def __init__(self, shares: Mapping[str, float]):
        self._below = {outcome: round(share * _ALL) for outcome, share in shares.items() if share < 1}

    @classmethod
    def read(cls, parts: Iterable[str]) -> Self:
        """From `outcome=share` each. UserError naming the one that is not right."""
        shares = {}
        for part in parts:
            outcome, _, text = part.partition("=")
            try:
                share = float(text)
            except ValueError:
                share = -1.0
            if outcome not in OUTCOMES or not 0 <= share <= 1:
                expected = f"outcome=share with one of {', '.join(OUTCOMES)} and 0 to 1"
                raise UserError(f"AUDIT_SAMPLE={part}: expected {expected}")
            shares[outcome] = share
        return cls(shares)

    def takes(self, outcome: str, fingerprint: bytes) -> bool:
        """Whether a fetch of that outcome is audited."""
        below = self._below.get(outcome)
        return below is None or int.from_bytes(fingerprint[-8:], "big") < below
