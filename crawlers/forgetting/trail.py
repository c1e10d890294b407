"""Tells the audit trail what was forgotten, and not whose it was."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from crawlers.lineage import worker_name
from crawlers.masking.masker import Masker
from crawlers.masking.rules import MaskingRules, PatternRules
from crawlers.page import Page
from pipelines.headers import PRODUCT_FORGOTTEN
from pipelines.page_events import PageEvents

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crawlers.masking.masking import Masking
    from crawlers.site_config import Site
    from pipelines.producer import Record

FORGOTTEN = "forgotten"
_EVERY_PATTERN = PatternRules(email="mask", phone="mask", iban="mask", card="mask")


class Trail:
    """Makes the events."""

    def __init__(self, settings: Any, masking: Masking, sites: Mapping[str, Site]):
        """Asks the registry, and blocks. Raises StartupError."""
        self._events = PageEvents.from_settings(settings)
        self._worker = worker_name(settings)
        self._masking = masking
        self._sites = sites

    def event(self, key: str, record_ids: set[str]) -> Record:
        """The product with this key, whose records had these ids, has a tombstone."""
        shown, site = shown_key(key, self._masking, self._sites), key.partition("/")[0]
        page = Page(
            url="",
            domain=site,
            fingerprint=hashlib.sha256(shown.encode()).hexdigest()[:16],
            crawl_id="",
            spider="",
            site=site if site in self._sites else None,
            worker=self._worker,
            attempt=1,
            outcome=FORGOTTEN,
            reason=f"key {shown}",
            record_ids=sorted(record_ids),
            ended_at=datetime.now(UTC),
        )
        moment = page.ended_at.isoformat().encode()  # what is forgotten twice is told twice
        return self._events.record(page, moment, PRODUCT_FORGOTTEN)


def shown_key(key: str, masking: Masking, sites: Mapping[str, Site]) -> str:
    """`key`, or its hash where it is personal, by any pattern or by its site's rules.

    The hash is made with a masking key where there is one: a plain one can be guessed.
    """
    name, _, identity = key.partition("/")
    anyones = Masker(MaskingRules(_EVERY_PATTERN), masking.keys)
    is_personal = anyones.text(anyones.url(identity)) != identity
    if (masker := masking.of_site(name)) is not None:
        fields = {str(sites[name].identity): identity} if name in sites else {}
        is_personal = is_personal or masker.identity(identity, fields) != identity
    if not is_personal:
        return key
    return masking.keys.lasting_token("key", key) if masking.keys else hashlib.sha256(key.encode()).hexdigest()
