"""How each proxy does at each domain: successes, latency, failures, bans, and the cool-downs that follow from them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LATELY = 200
"""Results from which on older ones count half. lua/proxies.lua has the same, and the rules of `Standing.note`."""
_DOMAINS = 10_000
_UNKNOWN_LATENCY = 1.0
"""Seconds, of a proxy that has answered nothing yet."""


class CoolDowns(NamedTuple):
    """How long a proxy is left out at a domain, in seconds; doubled each time until something succeeds."""

    failures: int
    """In a row."""
    after_failures: float
    after_ban: float
    longest: float

    @classmethod
    def from_settings(cls, settings: Any) -> Self:
        return cls(
            settings.getint("PROXY_FAILURES"),
            settings.getfloat("PROXY_COOL_DOWN"),
            settings.getfloat("PROXY_BAN_COOL_DOWN"),
            settings.getfloat("PROXY_LONGEST_COOL_DOWN"),
        )


class Results(NamedTuple):
    """Of one proxy at one domain, since the last time."""

    ok: int = 0
    failed: int = 0
    banned: int = 0
    seconds: float = 0.0
    """Of the successes, in all."""

    def plus(self, other: Results) -> Results:
        """Both together."""
        ok, failed, banned = self.ok + other.ok, self.failed + other.failed, self.banned + other.banned
        return Results(ok, failed, banned, self.seconds + other.seconds)


@dataclass(slots=True)
class Standing:
    """A proxy's at a domain."""

    row: int = 0
    level: int = 0
    until: float = 0.0
    """End of its cool-down, on the monotonic clock."""
    ok: float = 0.0
    failed: float = 0.0
    """Bans among them."""
    latency: float = 0.0
    banned: float = 0.0

    @property
    def quality(self) -> float:
        """What its weight is multiplied by: quick and reliable proxies are taken more often."""
        share = (self.ok + 1) / (self.ok + self.failed + 1)
        return share / (self.latency or _UNKNOWN_LATENCY)

    def note(self, results: Results, rules: CoolDowns, now: float) -> bool:
        """Add `results`; whether it has to cool down from now on."""
        if results.ok:
            mean = results.seconds / results.ok
            self.latency += (mean - self.latency) * (results.ok / (results.ok + 10) if self.ok else 1)
        self.ok += results.ok
        self.failed += results.failed + results.banned
        self.banned += results.banned
        if self.ok + self.failed > _LATELY:
            self.ok, self.failed, self.banned = self.ok / 2, self.failed / 2, self.banned / 2
        if self.until > now:  # what comes in while it cools down belongs to what cooled it down
            return False
        if results.ok:
            self.row = self.level = 0
        self.row += results.failed
        if not results.banned and self.row < rules.failures:
            return False
        cooling = rules.after_ban if results.banned else rules.after_failures
        self.until = now + min(rules.longest, cooling * 2**self.level)
        self.row, self.level = 0, self.level + 1
        return True


@dataclass(slots=True)
class Health:
    """What this process knows; Sharing brings in what the fleet does."""

    rules: CoolDowns
    spent: Counter[str] = field(default_factory=Counter)
    """Bytes by tier, of the last day that anything is known of."""
    labels: frozenset[str] = frozenset()
    """Of the proxies that there are; what is heard of others is not kept. Empty: all are."""
    _domains: dict[str, dict[str, Standing]] = field(default_factory=dict)
    _today: int = 0

    def at(self, domain: str) -> dict[str, Standing]:
        """The standings at `domain`, by label, of those that have been tried there."""
        return self._domains.get(domain, {})

    def cooling(self) -> set[str]:
        """The labels of those that cool down at some domain."""
        now, domains = monotonic(), self._domains.values()
        return {label for standings in domains for label, standing in standings.items() if standing.until > now}

    def note(self, domain: str, label: str, results: Results) -> bool:
        """Add `results`; whether the proxy has to cool down there from now on."""
        if domain not in self._domains:
            self.replace(domain, {})
        standing = self._domains[domain].setdefault(label, Standing())
        return standing.note(results, self.rules, monotonic())

    def spend(self, tier: str, size: int, day: int) -> None:
        """`size` bytes more were transferred by `tier` on that day."""
        if day != self._today:
            self.replace_spent({}, day)
        self.spent[tier] += size

    def spent_on(self, day: int, tier: str) -> int:
        """Bytes, as far as is known."""
        return self.spent[tier] if day == self._today else 0

    def replace_spent(self, spent: Mapping[str, int], day: int) -> None:
        """What is known by now of that day, by tier."""
        self._today, self.spent = day, Counter(spent)

    def replace(self, domain: str, standings: dict[str, Standing]) -> None:
        """What is known by now of `domain`."""
        if domain not in self._domains and len(self._domains) >= _DOMAINS:
            del self._domains[next(iter(self._domains))]
        self._domains[domain] = self._of_labels(standings)

    def use(self, labels: Iterable[str]) -> None:
        """There are these proxies from now on."""
        self.labels = frozenset(labels)
        self._domains = {domain: self._of_labels(standings) for domain, standings in self._domains.items()}

    def _of_labels(self, standings: dict[str, Standing]) -> dict[str, Standing]:
        if not self.labels or standings.keys() <= self.labels:
            return standings
        return {label: standing for label, standing in standings.items() if label in self.labels}
