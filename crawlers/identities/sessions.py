"""A worker's sessions: which identity a site sees for how long, and what takes its place.

An identity belongs to one group of domains and one session of it. It lives in a worker, as its cookies do.
"""

from __future__ import annotations

import random
import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import structlog

from crawlers import metrics
from crawlers.identities.agents import any_browser
from crawlers.identities.headers import template_of
from crawlers.identity import Identity
from crawlers.refusals import GivenUp

if TYPE_CHECKING:
    from collections.abc import Callable

    from crawlers.identities.headers import Template
    from crawlers.identities.profiles import BrowserProfile

log = structlog.get_logger("seine.identity")

_MOST = 10_000
"""Sessions of a worker; the one that was used longest ago makes room."""

_LEAVING = 100
NO_ENGINE = "identities need the version of the Chromium that renders pages, and it cannot be asked here"


class Wanted(NamedTuple):
    """What a site asks of its identities."""

    languages: tuple[str, ...]
    seconds: float
    """Until one is replaced."""
    at_once: int
    """That the site sees at once, of a worker."""


class Key(NamedTuple):
    """Of a session."""

    group: str
    """The site, or the domain."""
    name: str
    """What the requests call it, with a word before it, or a number in turn."""
    is_engines: bool
    """Whether Chromium renders its pages."""


@dataclass(slots=True)
class Session:
    """An identity while it is in use."""

    key: Key
    identity: Identity
    until: float
    """On the monotonic clock."""
    safe: Template
    plain: Template


class Sessions:
    """`engine`: the profile of the Chromium that renders pages; `forget` is told of labels whose cookies may go."""

    def __init__(self, engine: BrowserProfile | None, forget: Callable[[str], None]):
        self._engine = engine
        self._forget = forget
        self._random = random.Random()
        self._sessions: OrderedDict[Key, Session] = OrderedDict()
        self._by_label: dict[str, Session] = {}
        self._retired: OrderedDict[str, str] = OrderedDict()
        """The names of their sessions, by label."""
        self._leaving: deque[str] = deque()
        """Of the retired ones, those whose requests may still be under way."""
        self._turns: dict[tuple[str, bool], count[int]] = {}

    def of(self, group: str, name: str | None, wanted: Wanted, *, is_engines: bool) -> Session:
        """The session of that name, or whose turn it is where there is no name. Raises GivenUp where a page is to be
        rendered as nobody knows whom.
        """
        key = Key(group, self._next(group, wanted, is_engines) if name is None else name, is_engines)
        found = self._sessions.get(key)
        if found is not None and found.until <= monotonic():
            self.retire(found.identity.label, "aged")
            found = None
        if found is None:
            return self._begin(key, wanted)
        self._sessions.move_to_end(key)
        return found

    def _next(self, group: str, wanted: Wanted, is_engines: bool) -> str:
        if wanted.at_once == 1:
            return "0"
        if len(self._turns) >= _MOST:
            self._turns.clear()
        return str(next(self._turns.setdefault((group, is_engines), count())) % wanted.at_once)

    def count(self) -> int:
        """Identities in use."""
        return len(self._sessions)

    def labelled(self, label: str, group: str) -> Session | None:
        """The session whose identity has that label, while it is in use and where it is the group's."""
        found = self._by_label.get(label)
        return found if found is not None and found.key.group == group and found.until > monotonic() else None

    def was_ours(self, label: str) -> bool:
        """Whether an identity of that label has been in use here."""
        return label in self._by_label or label in self._retired

    def name_of(self, label: str) -> str | None:
        """What requests called the session that an identity of ours has, or had; None where its name was a number."""
        session = self._by_label.get(label)
        name = session.key.name if session is not None else self._retired[label]
        return None if name.isdigit() else name

    def retire(self, label: str, why: str) -> None:
        """The next request of its session has another one. Nothing happens where that is so already."""
        session = self._by_label.pop(label, None)
        if session is None:
            return
        del self._sessions[session.key]
        self._retired[label] = session.key.name
        if len(self._retired) > _MOST:
            self._retired.popitem(last=False)
        metrics.IDENTITIES.labels(why).inc()
        log.info("identity retired", identity=label, group=session.key.group, reason=why)
        self._leaving.append(label)
        if len(self._leaving) > _LEAVING:
            self._forget(self._leaving.popleft())

    def _begin(self, key: Key, wanted: Wanted) -> Session:
        if len(self._sessions) >= _MOST:
            self.retire(next(iter(self._sessions.values())).identity.label, "crowded out")
        if key.is_engines and self._engine is None:
            raise GivenUp(
                "no browser", f"{NO_ENGINE}, which {key.group} is to be rendered with as one of its identities"
            )
        profile = self._engine if self._engine is not None and key.is_engines else any_browser(self._random)
        safe, plain = (template_of(profile, wanted.languages, is_safe=is_safe) for is_safe in (True, False))
        identity = Identity(
            f"{profile.name}-{secrets.token_hex(4)}",
            is_browser_like=True,
            user_agent="" if key.is_engines else profile.user_agent,
            accept_language=",".join(wanted.languages),
            header_order=tuple(name for name, _ in safe),
        )
        session = Session(key, identity, monotonic() + wanted.seconds, safe, plain)
        self._sessions[key] = self._by_label[identity.label] = session
        metrics.IDENTITIES.labels("begun").inc()
        return session
