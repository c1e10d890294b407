"""Where the time of one attempt at a request went, phase by phase; together they are all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.http import Response

if TYPE_CHECKING:
    from crawlers.outcomes import RequestRecord


def timings_of(
    record: RequestRecord, result: Any, ended_at: float, *, is_delivered: bool = True
) -> dict[str, float | None]:
    """Milliseconds of each phase, as pages.avsc describes them; None where it did not happen, or nobody saw it.

    `ended_at` is of the monotonic clock, as the record's moments are. Without a frontier only Scrapy's latency is known
    of what comes before the callback. Where its records are yet to be delivered, nothing is known of that.
    """
    latency = record.request.meta.get("download_latency")
    before = {"first_byte_ms": latency} if record.lease is None else _until_handed(record, latency)
    after = _since_handed(record, ended_at, is_delivered) if isinstance(result, Response) else {}
    return {name: seconds and round(1000 * seconds, 2) for name, seconds in (before | after).items()}


def _until_handed(record: RequestRecord, latency: float | None) -> dict[str, float | None]:
    lease = record.lease
    found: dict[str, float | None] = {"frontier_ms": max(0.0, lease.taken_at - lease.known_at)}
    if not lease.started_at:
        return found | {"queue_ms": record.handed_at - lease.taken_at}
    found["queue_ms"] = lease.started_at - lease.taken_at + lease.held
    found["connect_ms"] = lease.connecting
    if latency is not None:
        found["first_byte_ms"] = latency - (lease.connecting or 0.0)
    waited = latency or lease.connecting or 0.0
    return found | {"download_ms": max(0.0, record.handed_at - lease.started_at - lease.held - waited)}


def _since_handed(record: RequestRecord, ended_at: float, is_delivered: bool) -> dict[str, float | None]:
    parsed_at = record.parsed_at or ended_at
    waited = is_delivered and record.fates and record.parsed_at
    return {
        "callback_ms": parsed_at - record.handed_at,
        "delivery_ms": ended_at - parsed_at if waited else None,
    }
