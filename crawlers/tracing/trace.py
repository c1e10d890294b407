"""What is known of one attempt at a request while it is worked on, for its trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from crawlers.tracing.traceparent import TRACEPARENT, fresh_span_id, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from crawlers.outcomes import RequestRecord
    from pipelines.producer import Record


@dataclass(slots=True)
class Step:
    """One span below the request's. Moments are of the monotonic clock."""

    name: str
    begun_at: float
    ended_at: float = 0.0
    """0 while it lasts."""
    attributes: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    """What went wrong; '' where nothing did."""
    span_id: int = field(default_factory=fresh_span_id)

    def end(self, error: BaseException | None = None) -> None:
        """It is over."""
        self.ended_at = monotonic()
        if error is not None:
            self.error = f"{type(error).__name__}: {error}"


@dataclass(slots=True)
class End:
    """How an attempt ended."""

    outcome: str
    reason: str
    told: dict[str, Any]
    """The fields of its log event."""
    ended_at: float = field(default_factory=monotonic)


def _nobody(_: RequestTrace) -> None:
    """Who listens to what is over."""


class RequestTrace:
    """Of one attempt. `tell` is called once, with the trace, when nothing more is to come."""

    __slots__ = ("_tell", "end", "is_handed_over", "is_sampled", "record", "span_id", "steps", "trace_id")

    def __init__(self, record: RequestRecord, trace_id: int, tell: Callable[[RequestTrace], None], *, is_sampled: bool):
        self.record: Any = record
        self.trace_id = trace_id
        self.span_id = fresh_span_id()
        self.is_sampled = is_sampled
        """Whether there will be spans; else there are only ids."""
        self.steps: list[Step] = []
        self.end: End | None = None
        self.is_handed_over = False
        """Its records wait for their transaction, which says how it ends."""
        self._tell = tell

    @property
    def hex_id(self) -> str:
        """The trace's id, as logs and collectors show it."""
        return f"{self.trace_id:032x}"

    def traceparent(self, span_id: int = 0) -> str:
        """Of its own span, or of one below."""
        return write(self.trace_id, span_id or self.span_id, is_sampled=self.is_sampled)

    def step(self, name: str, **attributes: Any) -> Step:
        """One that begins now; whoever began it ends it."""
        begun = Step(name, monotonic(), attributes=attributes)
        if self.is_sampled:
            self.steps.append(begun)
        return begun

    def producing(self, record: Record) -> tuple[Record, Step]:
        """The record with the header that names the step of its production, and that step."""
        step = self.step("produce", topic=record.topic, headers=record.headers, bytes=record.size)
        headers = [*record.headers, (TRACEPARENT, self.traceparent(step.span_id).encode())]
        return record._replace(headers=headers), step

    def refused(self, record: Record, why: str) -> None:
        """Kafka does not take a record that `producing` gave."""
        for step in self.steps:
            if (TRACEPARENT, self.traceparent(step.span_id).encode()) in record.headers:
                step.error, step.ended_at = why, monotonic()

    # --- Its end

    def settled(self, outcome: str, reason: str, told: dict[str, Any]) -> None:
        """The attempt has ended so; where its records wait for a transaction, that has the last word."""
        self.end = End(outcome, reason, told)
        if not self.is_handed_over:
            self.steps = [step for step in self.steps if step.ended_at]  # what was kept, and never produced
            self._over()

    def committed(self, outcome: str, reason: str) -> None:
        """Kafka has its records."""
        if self.is_handed_over and self.end is not None:
            self.end = End(outcome, reason, self.end.told)
            self._over()

    def given_back(self) -> None:
        """Its records are not produced: the request returns, or is somebody else's. Nothing, where it is over."""
        if self.is_handed_over and self.end is not None:
            self.steps = [step for step in self.steps if step.ended_at]
            self.end = End("pending", "not committed", self.end.told)
            self._over()

    def _over(self) -> None:
        assert self.end is not None
        self.is_handed_over = False
        for step in self.steps:
            step.ended_at = step.ended_at or self.end.ended_at
        if self.is_sampled:
            self._tell(self)
        # No circle, which would keep each page's objects until there is a collection of garbage.
        self.record, self.steps, self._tell = None, [], _nobody
