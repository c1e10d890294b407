"""The steps of `scrapy records forget`, and what it says on the way."""

from __future__ import annotations

import math
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag

from crawlers.asking import is_confirmed
from crawlers.claims.references import still_referred
from crawlers.domains import is_web_url
from crawlers.exceptions import UserError
from crawlers.forgetting import memory
from crawlers.forgetting.claims import ON_ITS_WAY, delete
from crawlers.forgetting.tombstones import tombstones, write
from crawlers.forgetting.traces import Traces, keys_of_url, traces
from crawlers.forgetting.trail import Trail
from crawlers.frontier.wiring import uses_frontier
from crawlers.masking.masking import Masking
from crawlers.site_config import load_sites
from pipelines.page_events import is_audited
from pipelines.topics import retention_seconds

if TYPE_CHECKING:
    import argparse

_FOUND_NOTHING = 1


def forget(settings: Any, keys: list[str], opts: argparse.Namespace) -> int:
    """Forget the products with these keys, or those of `opts.url`; the exit code. Blocks. Raises SeineError."""
    topic, started = settings["KAFKA_TOPIC_PRODUCTS"], time.time()
    names = [path.stem for path in sorted(Path(settings["SITES_DIR"]).glob("*.toml"))]
    sites = {site.name: site for site in load_sites(settings["SITES_DIR"], names)}
    masking = Masking.from_settings(settings, sites.values())
    keys, sought = _wanted(settings, keys, opts.url, masking)
    found = traces(settings, keys)
    if not found.partitions:
        print(f"seine: {topic} holds no record of {sought}; `scrapy records tail` shows keys", file=sys.stderr)
        return _FOUND_NOTHING
    if found.claims and not settings.get("CLAIM_CHECK_URL"):
        raise UserError(f"its records refer to {_counted(len(found.claims), 'claim')}: set CLAIM_CHECK_URL")
    shared = still_referred(settings, [topic, settings["KAFKA_TOPIC_DEAD_LETTERS"]], found.claims, but=keys)
    _describe(found, shared, settings)
    if opts.dry_run:
        print("dry run    nothing is forgotten")
        return 0
    if not is_confirmed(f"Forget {_counted(len(found.partitions), 'product')}?", opts):
        print("nothing is forgotten")
        return _FOUND_NOTHING
    trail = Trail(settings, masking, sites) if is_audited(settings) else None
    if uses_frontier(settings) and (entries := memory.forget(settings, found.partitions)):
        print(f"memory     {_counted(entries, 'entry', 'entries')} of EMIT=changes in Redis")
    graves = tombstones(topic, found.partitions)
    write(settings, graves)
    print(f"forgotten  {_counted(len(graves), 'tombstone')} on {topic}")
    if trail is not None:
        write(settings, [(trail.event(key, found.record_ids[key]), -1) for key in sorted(found.partitions)])
    return _delete_claims(settings, found.claims - shared, started) if found.claims - shared else 0


def _wanted(settings: Any, keys: list[str], url: str | None, masking: Masking) -> tuple[list[str], str]:
    """The keys that are meant, and what was asked for in words."""
    if url is not None and keys:
        raise UserError("expected a KEY or --url URL, not both")
    if url is not None:
        return keys_of_url(settings, _spellings(url, masking)), f"the page {url}"
    if len(keys) != 1 or not all(keys[0].partition("/")):
        raise UserError("expected one KEY, site/identity as `scrapy records tail` shows it, or --url URL")
    return keys, f"the key {keys[0]!r}"


def _delete_claims(settings: Any, claims: set[str], started: float) -> int:
    deleted = delete(settings, claims, started)
    print(f"deleted    {_counted(deleted.gone, 'claim')}")
    if deleted.left:
        minutes = f"{ON_ITS_WAY / 60:g} minutes"
        print(
            f"left       {_counted(deleted.left, 'claim')}, stored less than {minutes} ago: a record on its way may "
            "refer to it. Run this again later"
        )
    return int(bool(deleted.left))


def _spellings(url: str, masking: Masking) -> set[str]:
    """`url` as records may have it: as it is, and as any site's rules, with any key, have masked it."""
    if not is_web_url(url):
        raise UserError(f"--url {url}: expected an http or https URL")
    url = urldefrag(url).url
    return {url}.union(*(masker.url_spellings(url) for masker in masking.maskers))


def _describe(found: Traces, shared: set[str], settings: Any) -> None:
    for key in sorted(found.partitions):
        print(f"key        {_printable(key)}")
    print(f"records    {found.records}")
    if found.claims:
        print(f"claims     {len(found.claims)}, {len(shared)} of them referred to by other records, which keep them")
    if found.last_letter is not None:
        [kept] = retention_seconds(settings, [settings["KAFKA_TOPIC_DEAD_LETTERS"]]).values()
        until = "for ever" if math.isinf(kept) else f"until {found.last_letter + timedelta(seconds=kept):%Y-%m-%d}"
        print(f"stays      {_counted(found.letters, 'dead letter')}, {until}: that topic forgets by age alone")


def _counted(number: int, what: str, several: str = "") -> str:
    return f"{number} {what if number == 1 else several or what + 's'}"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
