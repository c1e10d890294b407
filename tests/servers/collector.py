"""A collector of traces: it takes OTLP over HTTP as any other one does, and keeps the spans."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Span:
    """A span as it came."""

    trace_id: str
    span_id: str
    parent_id: str
    """'' of a trace's first."""
    name: str
    kind: int
    begun_at: int
    """Nanoseconds since 1970, as `ended_at`."""
    ended_at: int
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    """(trace id, span id)."""
    error: str | None
    """The words of its status, where that is an error."""
    resource: dict[str, Any] = field(repr=False)


class Collector:
    """`with`: listens on loopback. Answers `status`; spans of what it refuses are not kept."""

    def __init__(self, port: int = 0) -> None:
        self.spans: list[Span] = []
        self.headers: list[dict[str, str]] = []
        """Of each request, names in lower case."""
        self.status = 200
        self.may_answer = threading.Event()
        """While it is cleared, every request waits."""
        self.may_answer.set()
        self.asked = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()

    def of(self, name: str, **attributes: Any) -> list[Span]:
        """The spans of that name with such attributes, whose dots are written as two underscores."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}.items()
        return [one for one in self.spans if one.name == name and wanted <= one.attributes.items()]

    def below(self, span: Span) -> dict[str, list[Span]]:
        """Its children by name, in the order of their beginning."""
        found: dict[str, list[Span]] = {}
        for one in sorted(self.spans, key=lambda one: one.begun_at):
            if (one.trace_id, one.parent_id) == (span.trace_id, span.span_id):
                found.setdefault(one.name, []).append(one)
        return found

    def _take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _values(group.resource.attributes)
            self.spans += [_span(one, resource) for scope in group.scope_spans for one in scope.spans]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                collector.asked.set()
                collector.may_answer.wait(60)
                is_ours = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
                if is_ours and collector.status == 200:
                    collector._take(body)
                self.send_response(collector.status if is_ours else 400)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _span(one: Any, resource: dict[str, Any]) -> Span:
    return Span(
        one.trace_id.hex(),
        one.span_id.hex(),
        one.parent_span_id.hex(),
        one.name,
        one.kind,
        one.start_time_unix_nano,
        one.end_time_unix_nano,
        _values(one.attributes),
        [(link.trace_id.hex(), link.span_id.hex()) for link in one.links],
        one.status.message if one.status.code == 2 else None,
        resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
