"""What of a robots.txt holds for one agent: a parser that is given no more cannot be led to do more.

RFC 9309: the groups that name the agent's product token, all together, and where there is none those of everybody.
A group's agent lines follow each other; what is no line of a group does not end it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from crawlers.robots.directives import token_of

EVERYBODY = "*"
"""The agent of a reduced robots.txt."""
MOST_RULES = 5000
"""Of an agent, the first ones."""
_AGENT, _DELAY = "useragent", "crawldelay"
_RULES = {
    "allow": "Allow",
    **dict.fromkeys(("disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw"), "Disallow"),
}
"""As Protego understands and misunderstands them."""
_NAMES = "|".join(("user[- ]?agent", "crawl[- ]delay", *_RULES))
_LINE = re.compile(rf"\s*({_NAMES})(?:\s*:|\s|$)([^#]*)", re.IGNORECASE)


@dataclass(slots=True)
class _Group:
    """All that holds for an agent."""

    is_there: bool = False
    rules: dict[str, None] = field(default_factory=dict)
    delay: float = 0.0

    def take(self, name: str, value: str) -> None:
        if name == _DELAY:
            self.delay = max(self.delay, _seconds(value))
        elif value and len(self.rules) < MOST_RULES:
            self.rules[f"{_RULES[name]}: {value}"] = None

    def to_bytes(self) -> bytes:
        lines = [*([f"Crawl-delay: {self.delay}"] if self.delay else ()), *self.rules]
        return "\n".join((f"User-agent: {EVERYBODY}", *lines)).encode() if lines else b""


def reduce_robots(body: bytes, token: str) -> bytes:
    """The rules and the Crawl-delay for the agent of that token, as one group of EVERYBODY; b"" of none."""
    groups = {token: _Group(), EVERYBODY: _Group()}
    holding: set[str] = set()
    is_naming = False
    for line in body.decode("utf-8-sig", errors="ignore").splitlines():
        if (found := _LINE.match(line)) is None:
            continue
        name, value = re.sub("[- ]", "", found[1].lower()), found[2].strip()
        if name != _AGENT:
            is_naming = False
            for agent in holding:
                groups[agent].take(name, value)
            continue
        if not is_naming:
            holding, is_naming = set(), True
        agent = EVERYBODY if value == EVERYBODY else token_of(value.lstrip(EVERYBODY))
        if agent and agent in groups:
            groups[agent].is_there = True
            holding.add(agent)
    return (groups[token] if groups[token].is_there else groups[EVERYBODY]).to_bytes()


def _seconds(value: str) -> float:
    """0 where it is no number."""
    try:
        seconds = float(value)
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0
