"""Makes the catalogue from a locale's words: seeded by names alone, so every start gives the same shop."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import product as pairs
from random import Random
from typing import Any

from deploy.demo_shop.catalog import Catalog, DomainCatalog, Offer, ShopProduct
from deploy.demo_shop.gtin import demonstration_gtin
from deploy.demo_shop.locales import LOCALES, Category, Locale, load_locale

MARKUPS = (
    "json-ld", "microdata", "json-ld-graph", "json-ld", "rdfa", "opengraph", "json-ld-itempage", "json-ld",
    "json-ld-broken", "microdata", "json-ld-many", "visible", "json-ld", "opengraph", "json-ld-graph", "json-ld",
)  # fmt: skip
"""Dealt out over a domain's open catalogue in this order, so that every kind appears everywhere."""

AVAILABILITIES = (
    "InStock", "InStock", "InStock", "InStock", "InStock", "OutOfStock", "InStock", "LimitedAvailability", "InStock",
    "PreOrder", "InStock", "BackOrder", "InStock", "SoldOut", "InStock", "OnlineOnly", "Discontinued",
)  # fmt: skip

COMPARED = {"InStock", "OutOfStock", "SoldOut", "BackOrder", "PreOrder", "Discontinued"}
"""What another seller's stock clearly beats, or clearly not: nobody can say whether it beats "online only"."""

SELLERS = ("Corner Depot", "Second Street Goods", "Parcel & Pine")


def build_catalog() -> Catalog:
    """The same catalogue at every call."""
    locales = [load_locale(name) for name in LOCALES]
    return Catalog([DomainCatalog(locale, generate_products(locale)) for locale in locales])


def generate_products(locale: Locale) -> list[ShopProduct]:
    products: list[ShopProduct] = []
    for category in locale.categories:
        for place, facts in enumerate(_names(locale, category)):
            products.append(_product(locale, category, len(products), place, facts))
    return products


def _names(locale: Locale, category: Category) -> Iterator[dict[str, Any]]:
    """The facts that name a product: series, noun, and in a category of variants its group, colour and size."""
    rng = Random(f"{locale.locale}/{category.slug}")
    names = list(pairs(locale.series, category.nouns))
    rng.shuffle(names)
    if not category.variants:
        yield from ({"series": series, "noun": noun} for series, noun in names[: category.count])
        return
    options = list(pairs(locale.colors, locale.sizes))
    for number, (series, noun) in enumerate(names[: category.count // len(options)]):
        for variant, ((_, color), size) in enumerate(options, start=1):
            yield {
                "series": series, "noun": noun, "color": color, "size": size, "variant": variant,
                "group": f"{locale.sku_prefix}-G{number + 1:02d}", "group_number": number,
            }  # fmt: skip


def _product(locale: Locale, category: Category, index: int, place: int, facts: dict[str, Any]) -> ShopProduct:
    rng = Random(f"{locale.locale}/{category.slug}/{place}")
    group = facts.get("group")
    # What a group's variants share comes from a generator of the group's own.
    shared = Random(f"{locale.locale}/{category.slug}/{group}") if group else rng
    name = f"{facts['series']} {facts['noun']}"
    full_name = f"{name}, {facts['color']} / {facts['size']}" if group else name
    material = shared.choice(category.materials)
    rated = shared.random() < 0.7
    single = category.section == "catalog" and not group
    availability = AVAILABILITIES[(index * 5 + index // 17) % len(AVAILABILITIES)]
    return ShopProduct(
        sku=_sku(locale, index, facts),
        name=full_name,
        locale=locale,
        category=category,
        index=index,
        place=place,
        markup=_markup(category, index, facts),
        price=_price(Random(f"price/{locale.locale}/{group or index}"), locale, category) + facts.get("variant", 0),
        availability=availability,
        description=_description(shared, locale, name, material, facts),
        material=material,
        weight=rng.randrange(120, 4200, 10),
        image_count=rng.randint(1, 4),
        brand=shared.choice(locale.brands) if shared.random() < 0.88 else None,
        mpn=f"{rng.randrange(100, 999)}-{rng.choice('ABCDEFGH')}{rng.randrange(10, 99)}"
        if rng.random() < 0.6
        else None,
        gtin=_gtin(rng, locale, index),
        condition=_condition(rng),
        rating=round(shared.uniform(2.8, 4.9), 1) if rated else None,
        rating_scale=shared.choice((5, 5, 5, 10, 100)),
        review_count=shared.randrange(3, 900) if rated else None,
        offers=_offers(rng, locale, availability) if single and index % 7 == 3 and availability in COMPARED else (),
        group=group,
        group_name=name if group else None,
        color=facts.get("color"),
        size=facts.get("size"),
        orphan=single and index % 11 == 5 and index < 11 * locale.orphans,
    )


def _sku(locale: Locale, index: int, facts: dict[str, Any]) -> str:
    if "group" in facts:
        return f"{facts['group']}-{facts['variant']}"
    return f"{locale.sku_prefix}-{10007 + index * 37}"


def _markup(category: Category, index: int, facts: dict[str, Any]) -> str:
    if category.section == "js":
        return "js"
    if category.section == "private":
        return "json-ld"
    if "group" in facts:
        return "json-ld-group" if facts["group_number"] % 2 == 0 else "json-ld-variant"
    if category.section == "scroll":
        return ("json-ld", "microdata", "json-ld-graph")[index % 3]
    return MARKUPS[index % len(MARKUPS)]


def _price(rng: Random, locale: Locale, category: Category) -> Decimal:
    low, high = category.prices
    whole = int(low * (high / low) ** rng.random())
    if locale.currency == "JPY":
        return Decimal(whole // 10 * 10)
    if locale.currency == "CHF":
        return Decimal(whole) + rng.choice((Decimal("0.00"), Decimal("0.50"), Decimal("0.90"), Decimal("0.05")))
    return Decimal(whole) + rng.choice((Decimal("0.00"), Decimal("0.99"), Decimal("0.49"), Decimal("0.95")))


def _description(rng: Random, locale: Locale, name: str, material: str, facts: dict[str, Any]) -> str:
    sentences = rng.sample(locale.sentences, rng.randint(4, 6))
    noun = facts["noun"] if locale.locale != "en-US" else facts["noun"].lower()
    glue = "" if locale.locale == "ja-JP" else " "
    return glue.join(sentences).format(name=name, noun=noun, material=material, series=facts["series"])


def _mpn(rng: Random) -> str | None:
    if rng.random() < 0.4:
        return None
    return f"{rng.randrange(100, 999)}-{rng.choice('ABCDEFGH')}{rng.randrange(10, 99)}"


def _gtin(rng: Random, locale: Locale, index: int) -> str | None:
    """Numbers of a domain start at its own hundred thousand; only 8-digit ones are short of room."""
    if rng.random() < 0.15:
        return None
    length = rng.choice((13, 13, 13, 12, 14, 8))
    number = locale.number * 1000 + index
    return demonstration_gtin(length, number % 10_000 if length == 8 else number + 100_000)


def _condition(rng: Random) -> str | None:
    draw = rng.random()
    if draw < 0.3:
        return None
    return "RefurbishedCondition" if draw > 0.93 else "UsedCondition" if draw > 0.88 else "NewCondition"


def _offers(rng: Random, locale: Locale, own: str) -> tuple[Offer, ...]:
    """Dearer than the shop; or, where the shop has none left, one in stock at the same price."""
    step = 100 if locale.currency == "JPY" else 1
    dearer = own == "InStock"
    return tuple(
        Offer(
            seller=seller,
            surcharge=Decimal(rng.randrange(2, 30) * step if dearer else 0),
            availability=rng.choice(("InStock", "OutOfStock", "BackOrder")) if dearer else stock,
        )
        for seller, stock in zip(rng.sample(SELLERS, 2), ("InStock", "OutOfStock"), strict=True)
    )
