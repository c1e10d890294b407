"""A Thing of type Product to the fields of an item."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from crawlers.extraction.gtin import parse_gtin
from crawlers.extraction.offers import Offer, OfferReader, best_offer, condition_of
from crawlers.extraction.page import Page
from crawlers.extraction.subject import Candidate
from crawlers.extraction.thing import Thing
from crawlers.extraction.values import (
    parse_count,
    parse_identifier,
    parse_number,
    parse_prose,
    parse_text,
    parse_url,
)

_GTINS = ("gtin13", "gtin", "gtin14", "gtin12", "gtin8", "ean", "ean13", "upc", "isbn", "isbn13")
_MAX_IMAGES = 100
_MAX_VARIANTS = 200
_MAX_TWINS = 5


class ProductReader:
    """Reads products of one page."""

    def __init__(self, page: Page, currency: str | None) -> None:
        self._page = page
        self._offers = OfferReader(page, currency)

    def read(self, candidate: Candidate, loose_offers: list[Thing]) -> dict[str, Any]:
        """The fields of the product; those that it does not state, or not rightly, are None or empty.

        A variant falls back on its group; a group has its variants' offers, and twins share theirs. `loose_offers`
        are those that the page shows outside any product: one alone belongs to this one.
        """
        holders = [candidate.thing, *([candidate.group] if candidate.group else []), *candidate.twins[:_MAX_TWINS]]
        offers = self._product_offers(candidate, loose_offers)
        best, availability = best_offer(offers)
        sold = [*holders, *([best.thing] if best else [])]
        return {
            "name": first(parse_text, holders, "name"),
            "sku": first(parse_identifier, sold, "sku") or _product_id(sold, "sku") or first_of_group(holders),
            "mpn": first(parse_identifier, sold, "mpn") or _product_id(sold, "mpn"),
            "gtin": first(parse_gtin, sold, *_GTINS) or _product_id(sold, "gtin"),
            "brand": _named(holders, "brand") or _named(holders, "manufacturer"),
            "description": first(parse_prose, holders, "description"),
            "images": images(holders, self._page.base),
            "price": best.price if best else None,
            "currency": best.currency if best else None,
            "availability": availability,
            "condition": condition_of([*sold, *(offer.thing for offer in offers)]),
            **rating(holders),
        }

    def _product_offers(self, candidate: Candidate, loose: list[Thing]) -> list[Offer]:
        thing = candidate.thing
        variants = list(thing.things("hasvariant", "model"))[:_MAX_VARIANTS]
        at_home = [variant for variant in variants if self._is_this_page(variant)]
        for holders in ([thing, *candidate.twins], at_home, variants):
            offers = self._offers.read(holders)
            if any(offer.price is not None or offer.availability for offer in offers):
                return offers
        if "price" in thing.properties or "pricespecification" in thing.properties:
            return [self._offers.offer(thing)]
        return [self._offers.offer(loose[0])] if len(loose) == 1 else []

    def _is_this_page(self, variant: Thing) -> bool:
        addresses = (parse_url(value, self._page.base) for value in variant.all("url"))
        return any(address == self._page.url for address in addresses)


def first(parse: Callable[[Any], Any], holders: Iterable[Thing], *names: str) -> Any:
    """The first value that `parse` accepts, holder by holder."""
    values = (value for holder in holders for value in holder.all(*names))
    return next((parsed for parsed in map(parse, values) if parsed is not None), None)


def first_of_group(holders: list[Thing]) -> str | None:
    group: str | None = first(parse_identifier, holders, "productgroupid")
    return group


def _product_id(holders: list[Thing], wanted: str) -> str | None:
    """productID names its scheme before a colon ('isbn:9780141036144'); without one it is the shop's own number."""
    for value in (value for holder in holders for value in holder.all("productid")):
        text = parse_identifier(value)
        scheme, colon, identifier = (text or "").partition(":")
        kind = _SCHEMES.get(scheme.strip().lower(), "other") if colon else "sku"
        if text and kind == wanted:
            found = identifier.strip() if colon else text
            return parse_gtin(found) if wanted == "gtin" else found or None
    return None


_SCHEMES = {"sku": "sku", "mpn": "mpn"} | dict.fromkeys(
    ("gtin", "gtin8", "gtin12", "gtin13", "gtin14", "ean", "ean13", "upc", "isbn"), "gtin"
)


def _named(holders: list[Thing], name: str) -> str | None:
    """A brand is text, or a Brand or Organization with a name."""
    for value in (value for holder in holders for value in holder.all(name)):
        text = first(parse_text, [value], "name") if isinstance(value, Thing) else parse_text(value, limit=200)
        if text and not text.startswith(("http://", "https://")) and text.lower() not in ("null", "undefined", "none"):
            return str(text)
    return None


def images(holders: Iterable[Thing], base: str) -> list[str]:
    """The addresses of the images, absolute, in order, each once."""
    addresses: dict[str, None] = {}
    for value in (value for holder in holders for value in holder.all("image")):
        for candidate in _image_addresses(value):
            address = parse_url(candidate, base)
            if address:
                addresses[address] = None
        if len(addresses) >= _MAX_IMAGES:
            break
    return list(addresses)[:_MAX_IMAGES]


def _image_addresses(value: Any) -> Iterator[Any]:
    if isinstance(value, Thing):
        stated = [*value.all("contenturl", "url"), value.id]
        yield next((address for address in stated if isinstance(address, str)), None)
    else:
        yield value


def rating(holders: Iterable[Thing]) -> dict[str, Any]:
    """The average scaled to 0–5, and how many reviews (else ratings) it rests on."""
    for aggregate in (thing for holder in holders for thing in holder.things("aggregaterating")):
        count = first(parse_count, [aggregate], "reviewcount")
        if count is None:
            count = first(parse_count, [aggregate], "ratingcount")
        average = _scaled(aggregate) if count != 0 else None
        if average is not None or count is not None:
            return {"rating": average, "review_count": count}
    return {}


def _scaled(aggregate: Thing) -> float | None:
    value = first(parse_number, [aggregate], "ratingvalue")
    best = first(parse_number, [aggregate], "bestrating") or 5.0
    return round(value * 5 / best, 4) if value is not None and value <= best else None
