"""A trace's moments as OpenTelemetry's spans."""

from __future__ import annotations

from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from scrapy.utils.httpobj import urlparse_cached

from crawlers import logs
from crawlers.tracing.trace import Step
from crawlers.tracing.traceparent import TRACEPARENT, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.resources import Resource

    from crawlers.frontier.leases import Lease
    from crawlers.tracing.trace import End, RequestTrace

_SCOPE = InstrumentationScope("seine")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_KINDS = {"download": SpanKind.CLIENT, "render": SpanKind.CLIENT, "produce": SpanKind.PRODUCER}
_FAILED = ("dead", "pending")
"""Outcomes that make a request's span an error. Of one that is tried again only the download is one."""
_LONGEST_TEXT = 8192
_UNSET = Status(StatusCode.UNSET)


def spans_of(trace: RequestTrace, resource: Resource, of_worker: dict[str, Any]) -> Iterator[ReadableSpan]:
    """The request's span, and one for each step; `of_worker` are attributes of all requests.

    They are made whole, of moments that are known by then: a tracer's own, begun and ended while a page is worked on,
    cost several times as much.
    """
    assert trace.end is not None
    shift = time_ns() - monotonic_ns()
    steps = [*_steps_before(trace, trace.end), *trace.steps]
    begun_at = min((step.begun_at for step in steps), default=trace.record.handed_at)
    context = SpanContext(trace.trace_id, trace.span_id, is_remote=False, trace_flags=_SAMPLED)

    def moment(at: float) -> int:
        return shift + int(at * 1e9)

    yield ReadableSpan(
        "request",
        context,
        resource=resource,
        attributes=of_worker | _about(trace, trace.end),
        links=_links(trace),
        status=_failure(trace.end.told.get("error") or trace.end.reason) if trace.end.outcome in _FAILED else _UNSET,
        start_time=moment(begun_at),
        end_time=moment(trace.end.ended_at),
        instrumentation_scope=_SCOPE,
    )
    for step in steps:
        yield ReadableSpan(
            step.name,
            SpanContext(trace.trace_id, step.span_id, is_remote=False, trace_flags=_SAMPLED),
            parent=context,
            resource=resource,
            attributes=_attributes(step),
            kind=_KINDS.get(step.name, SpanKind.INTERNAL),
            status=_failure(step.error) if step.error else _UNSET,
            start_time=moment(step.begun_at),
            end_time=moment(max(step.begun_at, step.ended_at)),
            instrumentation_scope=_SCOPE,
        )


def _steps_before(trace: RequestTrace, end: End) -> Iterator[Step]:
    """What happened to the request until its records were made."""
    record = trace.record
    if record.lease is not None:
        yield from _until_handed(record.lease, record.handed_at, trace, end)
    elif latency := record.request.meta.get("download_latency"):
        yield _fetching(record.handed_at - latency, trace, end)
    if record.error or (record.parsed_at and (record.status < 400 or record.fates)):  # else only its errback was called
        why = f"{record.error}: {record.why}" if record.error else ""
        counts = {"seine.items": end.told["items"], "seine.links": end.told["links"]}
        yield Step("extract", record.handed_at, record.parsed_at or end.ended_at, counts, why)


def _until_handed(lease: Lease, handed_at: float, trace: RequestTrace, end: End) -> Iterator[Step]:
    sent_at = lease.started_at + lease.held if lease.started_at else handed_at
    yield Step("lease wait", min(lease.known_at or lease.taken_at, lease.taken_at), lease.taken_at)
    yield Step("politeness wait", lease.taken_at, sent_at, {"seine.budget": lease.domain})
    if lease.started_at:
        step = _fetching(sent_at, trace, end)
        if lease.connecting is not None:
            step.attributes["seine.connect_seconds"] = round(lease.connecting, 6)
        yield step


def _fetching(begun_at: float, trace: RequestTrace, end: End) -> Step:
    record, told = trace.record, end.told
    request, status = record.request, told.get("status")
    attributes = {
        "http.request.method": request.method,
        "http.response.status_code": status,
        "http.response.body.size": told.get("bytes"),
        "server.address": urlparse_cached(request).hostname,
        "seine.rendered_by": _text(request.meta.get("rendered_by")),
        "seine.proxy": _text(request.meta.get("proxy_label")),
    }
    has_failed = (status or 0) >= 400 or ("error" in told and status is None)
    error = str(told.get("error") or f"http {status}") if has_failed else ""
    name = "render" if request.meta.get("rendered_by") else "download"
    return Step(name, begun_at, record.handed_at, _known(attributes), error)


def _about(trace: RequestTrace, end: End) -> dict[str, Any]:
    told = end.told
    attributes = {
        "url.full": _text(told["url"]),
        "seine.outcome": end.outcome,
        "seine.reason": _text(end.reason),
        "seine.site": told.get("site"),
        "seine.domain": told.get("domain"),
        "seine.attempt": told["attempt"],
        "seine.items": told["items"],
        "seine.links": told["links"],
        "seine.route": told.get("route"),
    }
    return _known(attributes)


def _links(trace: RequestTrace) -> tuple[Link, ...]:
    """To the request on whose page this one was found, or that it came in the place of."""
    parent = read(trace.record.request.meta.get(TRACEPARENT))
    if parent is None:
        return ()
    trace_id, span_id, flags = parent
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return (Link(context, {"seine.link": "parent"}),)


def _attributes(step: Step) -> dict[str, Any]:
    if step.name != "produce":
        return step.attributes
    told = step.attributes
    headers: dict[str, bytes] = dict(told["headers"])
    return {
        "messaging.system": "kafka",
        "messaging.operation.type": "send",
        "messaging.destination.name": told["topic"],
        "messaging.message.body.size": told["bytes"],
        "seine.record_id": (headers.get("record_id") or headers.get("letter_id") or b"").decode(),
    }


def _failure(why: str) -> Status:
    return Status(StatusCode.ERROR, _text(why))


def _text(value: Any) -> str | None:
    """Whatever it is, as the log would show it, and as UTF-8 can hold it."""
    if value is None or value == "":
        return None
    return logs.shown(str(value)[:_LONGEST_TEXT]).encode("utf-8", "replace").decode()


def _known(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}
