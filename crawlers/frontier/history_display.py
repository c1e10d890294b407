"""What the audit trail tells of a request, as lines on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crawlers.frontier.display import duration, report

if TYPE_CHECKING:
    from rich.console import RenderableType

    from crawlers.audit_history import History

_PHASES = ("frontier", "queue", "connect", "first_byte", "download", "callback", "delivery")


def history(found: History) -> RenderableType:
    """The last attempt in full, those before it in a line each."""
    lines = [("audit", _nothing(found))] if not found.events else _last(found.events[-1])
    lines += [("", _earlier(event)) for event in reversed(found.events[:-1])]
    if found.events and not found.is_done:
        lines.append(
            ("", f"there may be more: read back to {found.until:%Y-%m-%d %H:%M:%S}. --seconds N gives it longer")
        )
    return report(lines)


def _nothing(found: History) -> str:
    if found.trouble:
        return found.trouble
    if not found.is_done:
        back_to = f"back to {found.until:%Y-%m-%d %H:%M:%S}" if found.until else "not far"
        return f"no event on {found.topic} so far, read {back_to}. --seconds N gives it longer"
    return f"no event on {found.topic}: never fetched, older than what is kept there, or left out by AUDIT_SAMPLE"


def _last(event: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [
        ("audit", f"{_outcome(event)}, {event['ended_at']:%Y-%m-%d %H:%M:%S}, attempt {event['attempt']}"),
        ("by", _by(event)),
    ]
    if answer := _answer(event):
        lines.append(("answer", answer))
    if event["items"] or event["links"]:
        lines.append(("gave", f"{event['items']} items, {event['links']} links"))
    if event["redirected_to"]:
        lines.append(("to", event["redirected_to"]))
    if event["record_ids"]:
        lines.append(("records", ", ".join(event["record_ids"])))
    if took := [f"{name.replace('_', ' ')} {_span(event[f'{name}_ms'])}" for name in _PHASES if event[f"{name}_ms"]]:
        lines.append(("took", ", ".join(took)))
    return lines


def _by(event: dict[str, Any]) -> str:
    parts = [f"worker {event['worker']}", f"crawl {event['crawl_id']}"]
    parts += [f"as {event['identity']}"] if event["identity"] else []
    parts += [f"proxy {event['proxy']}"] if event["proxy"] else []
    parts += [f"rendered by {event['rendered_by']}"] if event["rendered_by"] else []
    parts += [f"route {event['route']}"] if event.get("route") else []
    return ", ".join(parts)


def _answer(event: dict[str, Any]) -> str:
    parts = [str(event["status"])] if event["status"] is not None else []
    parts += [f"{event['bytes']:,} bytes"] if event["bytes"] is not None else []
    parts += [event["error_class"]] if event["error_class"] else []
    return ", ".join(parts)


def _earlier(event: dict[str, Any]) -> str:
    return f"attempt {event['attempt']} {_outcome(event)}, {event['ended_at']:%Y-%m-%d %H:%M:%S}"


def _outcome(event: dict[str, Any]) -> str:
    return f"{event['outcome']}: {event['reason']}" if event["reason"] else str(event["outcome"])


def _span(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else duration(milliseconds / 1000)
