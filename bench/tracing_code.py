"""What the code of tracing takes for a page, by itself: `python -m bench.tracing_code`.

A page with a frontier's lease, a product and an audit event: seven spans. CPU of the calling thread, the best of nine
runs, which other people's work on the machine disturbs least.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic, thread_time
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from scrapy import Request
from scrapy.utils.project import get_project_settings

from crawlers.frontier.leases import Lease
from crawlers.outcomes import RequestRecord
from crawlers.tracing.export import Tracer
from crawlers.tracing.spans import spans_of
from crawlers.tracing.trace import RequestTrace
from pipelines.producer import Record

_URL = "http://shop.example/product/1234?n=3"
_PARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
_RECORD = Record("products", b"k" * 40, b"v" * 800, [(f"ce_{n}", b"x" * 24) for n in range(9)])
_TOLD = {"url": _URL, "domain": "shop.example", "site": "demo", "attempt": 1, "items": 1, "links": 3, "status": 200}
_SPANS = 7


def page() -> RequestRecord:
    """A page that was worked on."""
    now = monotonic()
    moments = {"known_at": now - 1, "taken_at": now - 0.5, "started_at": now - 0.1, "connecting": 0.01}
    lease = Lease(b"12345678", b"t", 0, "shop.example", now, 0.0, 0, b"", **moments)
    request = Request(_URL, meta={"download_latency": 0.01, "traceparent": _PARENT})
    return RequestRecord(request, status=200, handed_at=now, parsed_at=now, lease=lease)


def trace(tracer: Tracer, number: int) -> RequestTrace:
    """The whole of a page's trace."""
    record = page()
    record.trace = found = tracer.begin(record, "20261122T145902Z-48a9", "product_spider", number.to_bytes(8, "big"))
    for _ in range(2):
        found.producing(_RECORD)[1].end()
    found.settled("delivered", "", _TOLD)
    return found


def best(work: Callable[[int], Any], times: int) -> float:
    """Microseconds of one."""

    def once() -> float:
        began = thread_time()
        for number in range(times):
            work(number)
        return (thread_time() - began) / times * 1e6

    return min(once() for _ in range(9))


def tracer(share: str) -> Tracer:
    """One that samples so many, and sends none."""
    never = {"OTEL_BSP_SCHEDULE_DELAY": "100000000", "OTEL_BSP_MAX_QUEUE_SIZE": "1000000"}
    batch = {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1000000"}
    os.environ |= {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": share, **never, **batch}
    settings = get_project_settings()
    settings.set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", priority="cmdline")
    return Tracer(settings)


def encoding() -> tuple[float, float]:
    """(microseconds, bytes) of a page in a batch."""
    pages = 72
    found: list[Any] = []

    def keep(told: RequestTrace) -> None:
        found.extend(spans_of(told, Resource({}), {}))

    for number in range(pages):
        one = RequestTrace(page(), number + 1, keep, is_sampled=True)
        for _ in range(2):
            one.producing(_RECORD)[1].end()
        one.settled("delivered", "", _TOLD)
    assert len(found) == pages * _SPANS, len(found)
    took = best(lambda _: encode_spans(found).SerializePartialToString(), 5)
    return took / pages, len(encode_spans(found).SerializePartialToString()) / pages


def main() -> None:
    without = best(lambda _: page(), 2000)
    for name, share in (("not sampled", "0"), ("sampled", "1")):
        one = tracer(share)
        took = best(lambda number, one=one: trace(one, number), 2000) - without  # type: ignore[misc]
        print(f"{name:<12} {took:6.1f} µs per page in the event loop")
    took, size = encoding()
    print(f"{'encoded':<12} {took:6.1f} µs per page in the exporter's thread, {size:.0f} bytes")


if __name__ == "__main__":
    main()
