"""Scores extraction on recorded product pages with ground truth: `python -m bench.evaluate FOLDER`.

FOLDER holds html/ID.html.gz and ground-truth.json; its README defines the score: one predicted value per attribute; a
right one is a true positive, a wrong one a false positive and, where the page has a true value, a false negative too; a
missing one is a false negative where the page has a value.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from time import perf_counter
from typing import Any

from lxml import etree
from scrapy.http import HtmlResponse

from crawlers.extraction import Extraction, extract
from crawlers.extraction.currencies import candidates

ATTRIBUTES = ("price", "sku", "availability", "currency", "brand", "gtin")

_BUYABLE = frozenset(
    {"InStock", "LimitedAvailability", "OnlineOnly", "InStoreOnly", "PreOrder", "PreSale", "BackOrder", "MadeToOrder"}
)


@dataclass(frozen=True, slots=True)
class Miss:
    """A wrong or missing prediction."""

    page: str
    url: str
    attribute: str
    expected: list[str]
    got: Any
    source: str | None


@dataclass(slots=True)
class Score:
    """The counts of one attribute."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    misses: list[Miss] = field(default_factory=list)

    @property
    def precision(self) -> float:
        return self.true_positives / max(1, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        return self.true_positives / max(1, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        errors = self.false_positives + self.false_negatives
        return 2 * self.true_positives / max(1, 2 * self.true_positives + errors)


def is_right(attribute: str, expected: list[str], got: Any) -> bool:
    """Prices compare as decimals. The truth has currencies as signs: a code is right where the sign can mean it.
    The truth knows InStock and OutOfStock only: what can be bought or ordered counts as InStock, all else not.
    """
    if attribute == "price":
        return any(_decimal(value) == got for value in expected)
    if attribute == "currency":
        return any(got == value or got in candidates(value) for value in expected)
    if attribute == "availability":
        return ("InStock" if got in _BUYABLE else "OutOfStock") in expected
    return got in expected


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        return None


def evaluate(folder: Path) -> tuple[dict[str, Score], list[float]]:
    """The scores by attribute, and the seconds that each page's extraction took (without parsing)."""
    scores = {attribute: Score() for attribute in ATTRIBUTES}
    seconds = []
    for page, truth, root in pages(folder):
        start = perf_counter()
        extraction = extract(root, truth["url"])
        seconds.append(perf_counter() - start)
        for attribute, score in scores.items():
            _count(score, page, attribute, truth, extraction)
    return scores, seconds


def pages(folder: Path) -> Iterator[tuple[str, dict[str, Any], etree._Element]]:
    """Each page's id, truth, and tree as Scrapy would parse it."""
    truths = json.loads((folder / "ground-truth.json").read_bytes())
    for page, truth in truths.items():
        body = gzip.decompress((folder / "html" / f"{page}.html.gz").read_bytes())
        yield page, truth, HtmlResponse(truth["url"], body=body).selector.root


def _count(score: Score, page: str, attribute: str, truth: dict[str, Any], extraction: Extraction) -> None:
    expected = truth.get(attribute, [])
    got = (extraction.product or {}).get(attribute)
    right = got is not None and is_right(attribute, expected, got)
    score.true_positives += right
    score.false_positives += got is not None and not right
    score.false_negatives += bool(expected) and not right
    if not right and (expected or got is not None):
        source = extraction.sources.get(attribute)
        score.misses.append(Miss(page, truth["url"], attribute, expected, got, source))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="recorded pages with ground-truth.json")
    folder = parser.parse_args().folder
    if not (folder / "ground-truth.json").is_file():
        parser.error(f"{folder} holds no ground-truth.json")
    scores, seconds = evaluate(folder)
    print(f"{len(seconds)} pages, {1000 * sum(seconds) / max(1, len(seconds)):.2f} ms a page\n")
    print(f"{'attribute':<14}{'F1':>7}{'precision':>11}{'recall':>8}")
    for attribute, score in scores.items():
        print(f"{attribute:<14}{score.f1:>7.3f}{score.precision:>11.3f}{score.recall:>8.3f}")
    print("\nmisses (id, url, attribute, expected, got, source)")
    for score in scores.values():
        for miss in score.misses:
            expected = " or ".join(miss.expected) or "nothing"
            print(f"{miss.page[:12]}  {miss.url}  {miss.attribute}  {expected}  {miss.got}  {miss.source or '-'}")


if __name__ == "__main__":
    main()
