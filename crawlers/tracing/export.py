"""The way of spans to the collector: in batches, by a thread of their own, which nothing waits for."""

from __future__ import annotations

import asyncio
import logging
import threading
from importlib.metadata import PackageNotFoundError, version
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision

from crawlers import metrics
from crawlers.lineage import worker_name
from crawlers.tracing.options import endpoint_of, headers_of
from crawlers.tracing.spans import spans_of
from crawlers.tracing.trace import RequestTrace
from crawlers.tracing.traceparent import trace_id_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from crawlers.outcomes import RequestRecord

log = structlog.get_logger("seine.tracing")

logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a line for each try, where ours tell the change


class Tracer:
    """Begins the traces of a worker, and sends them. The SDK's own variables (OTEL_TRACES_SAMPLER, OTEL_BSP_…) hold."""

    def __init__(self, settings: Any):
        about = {"service.name": settings["OTEL_SERVICE_NAME"], "service.instance.id": worker_name(settings)}
        if release := _release():
            about["service.version"] = release
        provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
        self._resource = provider.resource
        self._sampler = provider.sampler
        exporter = OTLPSpanExporter(endpoint_of(settings), headers=headers_of(settings))
        self._processor = BatchSpanProcessor(ToldExporter(exporter))

    def begin(self, record: RequestRecord, crawl_id: str, spider: str, request_id: bytes) -> RequestTrace:
        """The trace of an attempt that is being worked on."""
        trace_id = trace_id_of(crawl_id, spider, request_id)
        decision = self._sampler.should_sample(None, trace_id, "request").decision

        def tell(trace: RequestTrace) -> None:
            self._tell(
                trace, {"seine.crawl_id": crawl_id, "seine.spider": spider, "seine.request_id": request_id.hex()}
            )

        return RequestTrace(record, trace_id, tell, is_sampled=decision is Decision.RECORD_AND_SAMPLE)

    def _tell(self, trace: RequestTrace, about: dict[str, Any]) -> None:
        try:
            spans = list(spans_of(trace, self._resource, about))
        except Exception:  # spiders may write anything into meta: no request is harmed for that
            log.exception("trace not told", trace_id=trace.hex_id)
            return
        metrics.SPANS.labels("made").inc(len(spans))
        for span in spans:
            self._processor.on_end(span)

    async def close(self, seconds: float) -> None:
        """Send what is left. After that time it is left behind: a crawl has not failed for it."""
        done, loop = asyncio.Event(), asyncio.get_running_loop()

        def shut_down() -> None:
            self._processor.shutdown()
            loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut_down, name="tracing-end", daemon=True).start()
        try:
            await asyncio.wait_for(done.wait(), seconds)
        except TimeoutError:
            log.warning("spans left behind", seconds=seconds)


class ToldExporter(SpanExporter):
    """Counts what its exporter does, and tells once that the collector is away, and once that it is back."""

    def __init__(self, exporter: SpanExporter):
        self._exporter = exporter
        self._away_since: float | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        is_taken = result is SpanExportResult.SUCCESS
        metrics.SPANS.labels("exported" if is_taken else "lost").inc(len(spans))
        if is_taken and self._away_since is not None:
            log.info("collector back", seconds=round(monotonic() - self._away_since, 1))
            self._away_since = None
        elif not is_taken and self._away_since is None:
            self._away_since = monotonic()
            log.warning("collector away: spans are lost", spans=len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _release() -> str:
    try:
        return version("seine")
    except PackageNotFoundError:
        return ""
