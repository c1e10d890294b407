"""Offers: of all that a product has, the one that a buyer would get."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

from crawlers.extraction.currencies import parse_currency
from crawlers.extraction.page import Page
from crawlers.extraction.prices import Amount, parse_price
from crawlers.extraction.thing import Thing
from crawlers.extraction.values import parse_availability, parse_condition

_MAX_OFFERS = 500
_MAX_DEPTH = 5
_IN_STOCK = frozenset({"InStock", "LimitedAvailability", "OnlineOnly", "InStoreOnly"})
_ON_ORDER = frozenset({"BackOrder", "MadeToOrder", "PreOrder", "PreSale"})
_NOT_THE_PRICE = ("listprice", "strikethroughprice", "msrp", "srp", "minimumadvertisedprice")


@dataclass(frozen=True, slots=True)
class Offer:
    """One offer, or an aggregate's lowest."""

    thing: Thing
    price: Decimal | None
    currency: str | None
    availability: str | None

    @property
    def rank(self) -> int:
        """Lower is better: in stock, to be ordered, unknown, out of stock."""
        if self.availability in _IN_STOCK:
            return 0
        return 1 if self.availability in _ON_ORDER else 2 if self.availability is None else 3


class OfferReader:
    """Reads offers with the page's locale and the site's currency."""

    def __init__(self, page: Page, fallback: str | None) -> None:
        self._locale = page.locale
        self._country = page.country
        self._fallback = fallback

    def read(self, holders: list[Thing]) -> list[Offer]:
        """The offers of these things, nested ones before their aggregate."""
        things: list[Thing] = []
        seen: set[Thing] = set()
        for holder in holders:
            things.extend(_unfold(holder, seen, _MAX_DEPTH))
            if len(things) >= _MAX_OFFERS:
                break
        return [self.offer(thing) for thing in things[:_MAX_OFFERS]]

    def offer(self, thing: Thing) -> Offer:
        specifications = [part for part in thing.things("pricespecification") if _is_the_price(part)]
        holders = [thing, *specifications]
        code = self._currency(holders)
        amount = next((amount for holder in holders for amount in self._amounts(holder, code)), None)
        if amount and not code:
            code = self._parse_currency(amount.sign)
        availability = next((term for term in map(parse_availability, thing.all("availability")) if term), None)
        return Offer(thing, amount.value if amount else None, code, availability)

    def _amounts(self, holder: Thing, currency: str | None) -> Iterator[Amount]:
        for value in holder.all("price", "lowprice", "minprice"):
            amount = parse_price(value, locale=self._locale, currency=currency or self._fallback)
            if amount:
                yield amount

    def _currency(self, holders: list[Thing]) -> str | None:
        stated = (value for holder in holders for value in holder.all("pricecurrency", "currency"))
        return next((code for code in map(self._parse_currency, stated) if code), None)

    def _parse_currency(self, value: Any) -> str | None:
        return parse_currency(value, country=self._country, locale=self._locale, fallback=self._fallback)


def best_offer(offers: list[Offer]) -> tuple[Offer | None, str | None]:
    """The offer whose price counts, and the product's availability: in stock if any offer is.

    That offer is the first of the best availability that has a price, else the first that has one.
    """
    if not offers:
        return None, None
    ranked = sorted((offer for offer in offers if offer.availability), key=lambda offer: offer.rank)
    availability = ranked[0].availability if ranked else None
    priced = [offer for offer in offers if offer.price is not None]
    same = (offer for offer in priced if ranked and offer.rank == ranked[0].rank)
    return next(same, priced[0] if priced else offers[0]), availability


def condition_of(holders: list[Thing]) -> str | None:
    stated = (value for holder in holders for value in holder.all("itemcondition"))
    return next((term for term in map(parse_condition, stated) if term), None)


def _unfold(holder: Thing, seen: set[Thing], depth: int) -> Iterator[Thing]:
    """Each offer once, however the page links them to each other."""
    for offer in islice(holder.things("offers", "offerdetails"), _MAX_OFFERS):
        if offer in seen:
            continue
        seen.add(offer)
        if depth and "offers" in offer.properties:
            yield from _unfold(offer, seen, depth - 1)
        yield offer


def _is_the_price(specification: Thing) -> bool:
    """A list price or a unit price ('3.20 per 100 g') is not what the buyer pays."""
    if "referencequantity" in specification.properties:
        return False
    kinds = (str(kind).lower() for kind in specification.all("pricetype"))
    return not any(kind.rpartition("/")[2] in _NOT_THE_PRICE for kind in kinds)
