"""Finds out by which formula a seen-set's fingerprints were made: queued requests are in it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crawlers.exceptions import UserError
from crawlers.frontier.fingerprints import FORMULAS, PROJECT, fingerprinting
from crawlers.frontier.scrapy_redis_entries import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy import Request
    from scrapy.crawler import Crawler

    from crawlers.frontier.scrapy_redis_entries import EntryReader
    from crawlers.frontier.scrapy_redis_source import ScrapyRedisSource

_SAMPLE = 500


def find_formula(
    crawler: Crawler, source: ScrapyRedisSource, reader: EntryReader, asked: str | None, of_crawl: str | None
) -> tuple[str, str]:
    """(formula, how it is known). `asked` is believed; where nothing tells, the crawl that is there keeps its own.

    UserError where queued requests tell that it is none of those known.
    """
    if asked is not None:
        fingerprinting(crawler, asked)
        return asked, "asked for"
    if not source.seen:
        return of_crawl or PROJECT, "no seen-set"
    sample = _sample(source, reader)
    if not sample:
        return of_crawl or next(iter(FORMULAS)), "nothing queued tells"
    found = {name: _hits(crawler, source, name, sample) for name in (*FORMULAS, PROJECT)}
    formula = max(found, key=lambda name: found[name])
    if not found[formula]:
        raise UserError(
            f"none of {len(sample)} queued requests is in {source.seen_key} by a known formula: with a dupe filter of "
            f"your own, set REQUEST_FINGERPRINTER_CLASS to its formula, and --fingerprints {PROJECT}"
        )
    return formula, f"{found[formula]} of {len(sample)} queued requests are in the seen-set by it"


def _hits(crawler: Crawler, source: ScrapyRedisSource, formula: str, sample: list[Request]) -> int:
    fingerprint = fingerprinting(crawler, formula)
    return source.has_seen(fingerprint(request).hex() for request in sample)


def _sample(source: ScrapyRedisSource, reader: EntryReader) -> list[Request]:
    """Queued requests that went through the dupe filter."""
    sample = []
    for request in _requests(source, reader):
        if not request.dont_filter:
            sample.append(request)
        if len(sample) >= _SAMPLE:
            break
    return sample


def _requests(source: ScrapyRedisSource, reader: EntryReader) -> Iterator[Request]:
    for page in source.entries():
        for entry in page:
            try:
                yield reader.read(entry)[0]
            except Refused as refused:
                if refused.request is not None:
                    yield refused.request
