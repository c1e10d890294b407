"""What the monitors take for an alarm, and what they do not."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from crawlers import metrics
from crawlers.monitors.counting import FIELDS, note_of
from crawlers.monitors.judging import judged
from crawlers.monitors.prices import PriceSample
from crawlers.monitors.result import Prices, SiteResult, result_of
from crawlers.monitors.rules import MonitorRules
from crawlers.monitors.tally import MOST_SAMPLED, Tally
from crawlers.monitors.telling import publish
from tests.products import product

FULL = dict.fromkeys(FIELDS, 1.0)
RULES = MonitorRules()


def crawl(number: int = 0, **changes: Any) -> SiteResult:
    """A crawl of a hundred products that is as it should be."""
    good: dict[str, Any] = {
        "site": "shop",
        "crawl_id": f"c{number}",
        "ended_at": 1_800_000_000.0 + number,
        "seconds": 60.0,
        "products": 100,
        "read": 100,
        "coverage": FULL,
        "zero_prices": 0,
        "requests": 120,
        "dead": 0,
        "missing": 0,
        "walls": 0,
        "prices": Prices(known=100, currency="EUR", median=20.0, compared=100),
    }
    return SiteResult(**{**good, **changes})


HISTORY = [crawl(number) for number in (3, 2, 1)]


def findings(now: SiteResult, history: list[SiteResult] = HISTORY, **rules: Any) -> list[str]:
    """monitor:level of what is found."""
    found = judged(now, history, MonitorRules(**rules)).findings
    return [f"{one.monitor}:{one.level}" for one in found]


def prices(**changes: Any) -> Prices:
    return msgspec.structs.replace(crawl().prices, **changes)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"products": 71}, []),
        ({"products": 69}, ["products:error"]),
        ({"products": 0, "read": 0, "coverage": {}}, ["products:error"]),
        ({"products": 299}, []),
        ({"products": 301}, ["products:warning"]),
        ({"coverage": {**FULL, "brand": 0.81}}, []),
        ({"coverage": {**FULL, "brand": 0.79}}, ["coverage:error"]),
        ({"coverage": {**FULL, "brand": 0.0, "price": 0.5}}, ["coverage:error", "coverage:error"]),
        ({"read": 4, "coverage": {**FULL, "brand": 0.5}}, []),
        ({"dead": 4}, []),
        ({"dead": 20}, ["errors:error"]),
        ({"walls": 20}, ["errors:error"]),
        ({"missing": 60}, []),
        ({"dead": 4, "requests": 4}, []),
        ({"zero_prices": 3}, ["prices:error"]),
        ({"zero_prices": 2}, []),
        ({"prices": prices(changed=30)}, []),
        ({"prices": prices(changed=31)}, ["prices:error"]),
        ({"prices": prices(compared=9, changed=9)}, []),
        ({"prices": prices(median=29.0)}, []),
        ({"prices": prices(median=31.0)}, ["prices:error"]),
        ({"prices": prices(median=13.0)}, ["prices:error"]),
        ({"prices": prices(currency="USD", recoined=100)}, ["currency:error"]),
        ({"prices": prices(recoined=6)}, ["currency:error"]),
        ({"prices": prices(recoined=5)}, []),
        ({"prices": Prices()}, []),
        ({"seconds": 659.0}, []),
        ({"seconds": 661.0}, ["duration:warning"]),
    ],
)
def test_a_crawl_is_held_against_the_crawls_before(changes: dict[str, Any], found: list[str]) -> None:
    assert findings(crawl(9, **changes)) == found


def test_nothing_is_compared_before_there_is_a_history() -> None:
    broken = crawl(9, products=1, read=1, coverage=dict.fromkeys(FIELDS, 0.0), seconds=9999.0)
    for past in range(RULES.after):
        assert findings(broken, HISTORY[:past]) == []
    assert findings(broken, HISTORY[:1], after=1)


def test_limits_of_a_site_hold_without_a_history() -> None:
    assert findings(crawl(9, products=9), [], min_products=10) == ["products:error"]
    assert findings(crawl(9, coverage={**FULL, "gtin": 0.4}), [], min_coverage={"gtin": 0.5}) == ["coverage:error"]
    assert findings(crawl(9, dead=40), []) == ["errors:error"]
    assert findings(crawl(9, dead=40), [], max_error_rate=0.5) == []
    assert findings(crawl(9, zero_prices=5), []) == ["prices:error"]
    assert findings(crawl(9, read=0, coverage={}), [], min_coverage={"gtin": 0.5}) == []


def test_one_bad_crawl_moves_no_median_and_a_level_that_stays_becomes_the_normal_one() -> None:
    history = [crawl(0, products=10), *HISTORY]
    assert findings(crawl(9, products=10), history) == ["products:error"]
    assert findings(crawl(9), history) == []
    for _ in range(6):
        history.insert(0, judged(crawl(len(history), products=10), history, RULES))
    assert "products:warning" in findings(crawl(9), history)
    assert findings(crawl(9, products=10), history) == []


def test_a_site_that_is_never_the_same_does_not_cry_wolf_and_is_missed_when_it_is_gone() -> None:
    history = [crawl(number, products=count) for number, count in enumerate((100, 60, 140, 80, 120))]
    assert findings(crawl(9, products=45), history) == []
    assert findings(crawl(9, products=9), history) == ["products:error"]


def test_a_field_that_few_products_ever_had_is_missed_when_no_product_has_it() -> None:
    history = [crawl(number, coverage={**FULL, "gtin": 0.15}) for number in range(3)]
    assert findings(crawl(9, coverage={**FULL, "gtin": 0.05}), history) == []
    assert findings(crawl(9, coverage={**FULL, "gtin": 0.0}), history) == ["coverage:error"]


def test_free_products_are_no_alarm_where_there_always_are_some() -> None:
    history = [crawl(number, zero_prices=10) for number in range(3)]
    assert findings(crawl(9, zero_prices=11), history) == []
    assert findings(crawl(9, zero_prices=13), history) == ["prices:error"]


def test_monitors_are_switched_off_and_made_warnings() -> None:
    broken = crawl(9, products=10, dead=60)
    assert findings(broken, off=("products",), warn=("errors",)) == ["errors:warning"]
    assert judged(broken, HISTORY, RULES).status == "error"
    assert judged(crawl(9), HISTORY, RULES).status == "ok"


def test_crawls_of_other_limits_are_not_compared() -> None:
    assert findings(crawl(9, products=5, scope="FRONTIER_CRAWL_PAGES=5")) == []


def test_what_is_well_again_is_told_and_when_products_were_last_seen_is_kept() -> None:
    broken = judged(crawl(4, products=0, read=0, coverage={}), [judged(HISTORY[0], [], RULES), *HISTORY[1:]], RULES)
    assert broken.last_products_at == HISTORY[0].ended_at
    mended = judged(crawl(5), [broken, *HISTORY], RULES)
    assert (mended.resolved, mended.status, mended.last_products_at) == (("products",), "ok", mended.ended_at)


# --- What is counted


@dataclass
class Shop:
    """A shop's prices, by product."""

    prices: dict[str, tuple[str, str]]

    def tally(self, *, unread: int = 0) -> Tally:
        tally = Tally(unread=unread)
        for identity, (price, currency) in self.prices.items():
            tally.add(note_of(product(identity=identity, price=Decimal(price), currency=currency)) or ())
        return tally


def test_coverage_is_what_pages_state() -> None:
    tally = Tally()
    for changes in ({"brand": "B"}, {"brand": ""}, {"images": ["http://shop.example/1.png"]}, {"price": Decimal(0)}):
        tally.add(note_of(product(**changes)) or ())
    assert (tally.products, tally.zero_prices) == (4, 1)
    assert {name: share for name, share in tally.coverage().items() if share} == {
        "name": 1.0,
        "price": 1.0,
        "currency": 1.0,
        "brand": 0.25,
        "images": 0.25,
    }


@pytest.mark.parametrize(
    "item",
    [{"fate": "odd"}, product(change="gone"), product(identity=""), product(identity="\ud800"), product(site=7)],
    ids=["no product", "gone", "no identity", "not text", "no site"],
)
def test_what_is_no_product_is_not_counted(item: Any) -> None:
    assert note_of(item) is None


@pytest.mark.parametrize("price", [None, Decimal("nan"), Decimal("inf"), Decimal("-1"), Decimal(10) ** 30, "12"])
def test_a_price_that_is_none_is_not_sampled(price: Any) -> None:
    note = note_of(product(price=price))
    assert note is not None
    assert note[5] == b""


def test_crawls_have_the_same_products_in_their_samples() -> None:
    shop = Shop({f"sku-{number}": ("10", "EUR") for number in range(3 * MOST_SAMPLED)})
    before = PriceSample().after(shop.tally())
    shop.prices |= {f"sku-{number}": ("14", "EUR") for number in range(0, 3 * MOST_SAMPLED, 4)}
    now = before.after(shop.tally())
    facts = now.facts(before, 0.3)
    assert (facts.known, facts.compared) == (MOST_SAMPLED, MOST_SAMPLED)
    assert facts.changed / facts.compared == pytest.approx(0.25, abs=0.08)
    assert PriceSample.unpack(now.pack()) == now


def test_prices_of_pages_that_were_not_sent_stay_in_the_sample_for_a_while() -> None:
    shop, other = Shop({"a": ("10", "EUR")}), Shop({"b": ("30", "EUR")})
    sample = PriceSample().after(shop.tally()).after(other.tally(unread=1))
    assert (sample.facts(PriceSample(), 0.3).median, len(sample.prices)) == (20.0, 2)
    assert len(sample.after(other.tally()).prices) == 1
    for _ in range(20):
        sample = sample.after(Tally(unread=2))
    assert sample.prices == {}


def test_another_currency_is_no_other_price() -> None:
    before = PriceSample().after(Shop({"a": ("10", "EUR"), "b": ("10", "EUR")}).tally())
    facts = before.after(Shop({"a": ("90", "USD"), "b": ("10", "EUR")}).tally()).facts(before, 0.3)
    assert (facts.changed, facts.recoined) == (0, 1)


def test_results_become_gauges_and_those_of_a_site_that_is_gone_go() -> None:
    tally = Shop({"a": ("10", "EUR")}).tally()
    about: dict[str, Any] = {"site": "shop", "crawl_id": "c", "ended_at": 9.0, "seconds": 1.0}
    publish([judged(result_of(tally, Prices(), **about), [], MonitorRules(min_products=2))])
    value = metrics.REGISTRY.get_sample_value
    assert value("seine_site_products", {"site": "shop"}) == 1
    assert value("seine_monitor_failed", {"site": "shop", "monitor": "products"}) == 2
    assert value("seine_monitor_failed", {"site": "shop", "monitor": "prices"}) == 0
    assert value("seine_site_field_coverage", {"site": "shop", "field": "price"}) == 1.0
    assert value("seine_site_last_products_timestamp_seconds", {"site": "shop"}) == 9.0
    publish([])
    assert value("seine_site_products", {"site": "shop"}) is None
