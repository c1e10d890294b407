"""The headers that every record of the contract carries; ce_* are CloudEvents' binary mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

PRODUCT_OBSERVED = "seine.product.observed"
PAGE_FETCHED = "seine.page.fetched"
PRODUCT_FORGOTTEN = "seine.product.forgotten"


def contract_headers(
    kind: str, record_id: str, crawl_id: str, spider: str, site: str, moment: datetime
) -> list[tuple[str, bytes]]:
    """Of an Avro record of that kind, about `site` at that moment."""
    id_, by = record_id.encode(), spider.encode()
    return [
        ("record_id", id_),
        ("crawl_id", crawl_id.encode()),
        ("spider", by),
        ("ce_id", id_),
        ("ce_source", b"/seine/%s/%s" % (by, site.encode())),
        ("ce_type", kind.encode()),
        ("ce_specversion", b"1.0"),
        ("ce_time", moment.isoformat(timespec="milliseconds").encode()),
        ("content-type", b"application/avro"),
    ]
