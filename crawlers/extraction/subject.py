"""Which product a page is about: of all that it mentions, the one that its headings name."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from urllib.parse import unquote

from crawlers.extraction.page import Page
from crawlers.extraction.terms import term_set
from crawlers.extraction.thing import Thing
from crawlers.extraction.values import MAX_URL, parse_text, split_url, words

MAX_CANDIDATES = 200
_MAX_THINGS = 20_000
_PRODUCTS = term_set(
    """
    product productgroup productmodel individualproduct someproducts vehicle car motorcycle motorizedbicycle
    """
)
_SELLABLE = term_set("book movie musicalbum videogame game softwareapplication mobileapplication")
"""Works: products only where they are offered."""
_OFFERS = frozenset({"offer", "aggregateoffer", "demand"})
_LISTING = term_set(
    """
    itemlistelement isrelatedto issimilarto isaccessoryorsparepartfor isconsumablefor mentions itemreviewed
    """
)
_CLEAR_MATCH, _FAIR_MATCH, _WEAK_MATCH, _LEAD = 0.75, 0.5, 0.2, 0.15


@dataclass(slots=True, eq=False)
class Candidate:
    """A product of the page's structured data."""

    thing: Thing
    is_listed: bool
    """Reached through a list or a relation only: rarely what the page is about."""
    group: Thing | None = None
    """The ProductGroup that it is a variant of."""
    twins: list[Thing] = field(default_factory=list)
    """Others of the same name: its sizes, or a second description of it."""
    name: str = ""
    is_at_home: bool = False
    """Its address is the page's."""
    score: float = 0.0


_Step = tuple[Thing, bool, Thing | None]
"""A Thing, whether it is listed only, and what refers to it."""


@dataclass(slots=True)
class Mentioned:
    """The things of one syntax that extraction cares about, in document order."""

    products: list[Candidate] = field(default_factory=list)
    breadcrumbs: list[Thing] = field(default_factory=list)
    offers: list[Thing] = field(default_factory=list)
    """Offers that belong to no product."""


def survey(things: list[Thing]) -> Mentioned:
    """Walks everything reachable from the top-level things, each once."""
    found = Mentioned()
    seen: set[int] = set()
    pending: list[_Step] = [(thing, False, None) for thing in reversed(things)]
    listed: deque[_Step] = deque()
    while (pending or listed) and len(seen) < _MAX_THINGS:
        thing, is_listed, parent = pending.pop() if pending else listed.popleft()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        _note(found, thing, is_listed, parent)
        for name, values in reversed(thing.properties.items()):
            for value in reversed(values):
                if isinstance(value, Thing):
                    below = is_listed or name in _LISTING or (is_product(thing) and is_product(value))
                    (listed if below else pending).append((value, below, thing))
    return found


def is_product(thing: Thing) -> bool:
    if not _PRODUCTS.isdisjoint(thing.types):
        return True
    return "offers" in thing.properties and not _SELLABLE.isdisjoint(thing.types)


def _note(found: Mentioned, thing: Thing, is_listed: bool, parent: Thing | None) -> None:
    if is_product(thing):
        if parent is not None and not _OFFERS.isdisjoint(parent.types):
            thing.properties.setdefault("offers", [parent])
            found.offers = [offer for offer in found.offers if offer is not parent]
        is_variant = parent is not None and "productgroup" in parent.types
        if len(found.products) < MAX_CANDIDATES:
            found.products.append(Candidate(thing, is_listed, parent if is_variant else None))
    elif "breadcrumblist" in thing.types or "breadcrumb" in thing.types:
        found.breadcrumbs.append(thing)
    elif parent is None and not _OFFERS.isdisjoint(thing.types):
        found.offers.append(thing)


class Subject:
    """The names by which a page calls its subject, and the choice by them."""

    def __init__(self, page: Page, is_declared: bool) -> None:
        self._addresses = {_bare(page.url), _bare(page.canonical_url or page.url)}
        self._headings = [words(heading) for heading in page.headings]
        self._titles = [words(title) for title in (page.meta("og:title"), page.title) if title]
        self._slug = words(unquote(split_url(page.url).path))
        self._is_declared = is_declared

    def learn(self, name: str) -> None:
        """A more trusted source's name for the subject: from now on others must match it."""
        self._headings = [words(name)]
        self._titles = []
        self._is_declared = False

    def choose(self, candidates: list[Candidate]) -> Candidate | None:
        """The candidate that the page is about; None where it only mentions products, as a category page does."""
        for candidate in candidates:
            candidate.name = parse_text(next(candidate.thing.all("name"), None)) or ""
            candidate.is_at_home = self._is_at_home(candidate.thing)
        self._drop_shared_home(candidates)
        for candidate in candidates:
            candidate.score = self._score(candidate)
        main = [candidate for candidate in candidates if not candidate.is_listed]
        best = max(main, key=lambda candidate: candidate.score, default=None)
        if best is not None and self._is_subject(best, main):
            return _variant_of(best, candidates)
        best = max(candidates, key=lambda candidate: candidate.score, default=None)
        return best if best is not None and self._stands_out(best, candidates) else None

    def _drop_shared_home(self, candidates: list[Candidate]) -> None:
        """An address that products of several names claim tells nothing."""
        at_home = (candidate for candidate in candidates if candidate.is_at_home and candidate.group is None)
        if len({candidate.name for candidate in at_home}) > 1:
            for candidate in candidates:
                candidate.is_at_home = False

    def _score(self, candidate: Candidate) -> float:
        at_home = 1.0 if candidate.is_at_home else 0.0
        name = words(candidate.name)
        if not name:
            return at_home
        heading = max((2 * len(name & known) / (len(name) + len(known)) for known in self._headings), default=0)
        title = max((len(name & known) / len(name) for known in self._titles), default=0)
        return at_home + max(heading, 0.9 * title * min(1, len(name) / 3))

    def _is_at_home(self, thing: Thing) -> bool:
        holders = (thing, *islice(thing.things("offers"), 20))
        stated = (value for holder in holders for value in holder.all("url", "mainentityofpage"))
        addresses = (value.id if isinstance(value, Thing) else value for value in (*stated, thing.id))
        return any(_bare(address) in self._addresses for address in addresses if isinstance(address, str))

    def _is_subject(self, best: Candidate, main: list[Candidate]) -> bool:
        rivals = {candidate.name.casefold() for candidate in main}
        if len(rivals) > 1:
            return self._stands_out(best, main) or (self._is_declared and best.score > _WEAK_MATCH)
        if self._is_declared or best.score >= _WEAK_MATCH or not best.name:
            return True
        return not (self._headings or self._titles) or len(words(best.name) & self._slug) >= 2

    def _stands_out(self, best: Candidate, candidates: list[Candidate]) -> bool:
        rival = max((other.score for other in candidates if other.name.casefold() != best.name.casefold()), default=0.0)
        if best.score >= _CLEAR_MATCH:
            return True
        return not best.is_listed and best.score >= _FAIR_MATCH and best.score - rival >= _LEAD


def _variant_of(group: Candidate, candidates: list[Candidate]) -> Candidate:
    """The group's variant that the page is about: the only one at its address, else one that its headings name
    clearly and better than the group; the group itself where neither is there.
    """
    variants = [candidate for candidate in candidates if candidate.group is group.thing]
    at_home = [variant for variant in variants if variant.is_at_home]
    if len(at_home) == 1:
        return at_home[0]
    best = max(variants, key=lambda variant: variant.score, default=group)
    is_clear = not at_home and best.score >= _CLEAR_MATCH and best.score > group.score
    return best if is_clear else group


def _bare(url: str) -> str:
    """The address without scheme, fragment and closing slash."""
    return url[:MAX_URL].partition("#")[0].partition("://")[2].rstrip("/")
