"""Logging: structlog's events and the standard library's lines leave through one handler, in one format."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from scrapy.logformatter import LogFormatter

from crawlers import uncaught
from crawlers.exceptions import Undelivered
from crawlers.masking.hidden import Hidden, passwords
from crawlers.masking.masking import Masking
from crawlers.outcomes import CURRENT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crawlers.masking.masker import Masker

_of_process: dict[str, Any] = {}


def bind_process(**fields: Any) -> None:
    """Add `fields` to every event and log line of this process from now on."""
    _of_process.update(fields)


def _add_process_fields(_logger: Any, _name: str, event: Any) -> Any:
    return {**event, **_of_process}


def _add_trace_id(_logger: Any, _name: str, event: Any) -> Any:
    """Of the request that is being worked on, where there is tracing.

    What outlives the request that began it, as a timer does, still sees that one: it has ended then.
    """
    if (record := CURRENT.get()) is not None and record.trace is not None and record.trace.end is None:
        event.setdefault("trace_id", record.trace.hex_id)
    return event


_SHARED: list[Any] = [
    _add_process_fields,
    _add_trace_id,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


_hidden = Hidden()


# Once per process, at import: until a handler of ours is installed, events leave through Scrapy's.
structlog.configure(
    processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)


class _ShowsNoSettings(logging.Filter):
    """Scrapy logs every overridden setting at start, secrets among them."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Overridden settings")


logging.getLogger("scrapy.crawler").addFilter(_ShowsNoSettings())


class QuietLogFormatter(LogFormatter):
    """Scrapy's lines per page and per item, silenced where an outcome event says the same and more."""

    def crawled(self, request: Any, response: Any, spider: Any) -> None:  # type: ignore[override]
        return None

    def scraped(self, item: Any, response: Any, spider: Any) -> None:  # type: ignore[override]
        return None

    def dropped(self, item: Any, exception: Any, response: Any, spider: Any) -> None:  # type: ignore[override]
        return None

    def item_error(self, item: Any, exception: Any, response: Any, spider: Any) -> Any:
        """An item that is pending has an event that says so; Scrapy's line would show all of the item."""
        if isinstance(exception, Undelivered):
            return {"level": logging.DEBUG, "msg": "item pending", "args": ()}
        return super().item_error(item, exception, response, spider)


class _CurrentStderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what sys.stderr is at that moment, so that a live progress line can keep below the log."""

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        pass


def install(settings: Any) -> None:
    """Route every log line through structlog: JSON to files and pipes, text to terminals, or as LOG_STYLE says.

    Whoever else writes comes the same way: Scrapy, Twisted, warnings, exceptions that nobody caught.
    Raises UserError where a masking rule is wrong.
    """
    _hidden.hide(passwords(settings), Masking.of_fleet(settings).of_logs)
    level = str(settings["LOG_LEVEL"]).upper()
    settings.set("LOG_LEVEL", level, priority="cmdline")  # Scrapy asks for it again, and knows no lower case
    handler = _handler(settings)
    handler.setLevel(level)
    handler.setFormatter(_formatter(settings, is_terminal=isinstance(handler, _CurrentStderr) and sys.stderr.isatty()))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    for lister in ("scrapy.addons", "scrapy.middleware"):  # their lists of what is enabled are settings.py again
        logging.getLogger(lister).setLevel(logging.WARNING)
    if not isinstance(handler, logging.NullHandler):
        uncaught.log_them(settings.get("LOG_FILE") or "", shown)


def mask(masker: Masker | None) -> None:
    """Apply what the sites of this process's crawl mask to its log from now on."""
    _hidden.masker = masker


def shown(text: str) -> str:
    """`text` as the log may show it: without passwords, masked by the crawl's rules."""
    return _hidden.text(text)


def hide_listed(passwords: Iterable[str]) -> None:
    """Show none of these from now on, which a list beside the settings holds; an older one is forgotten."""
    _hidden.hide_listed(passwords)


def _handler(settings: Any) -> logging.Handler:
    if settings.get("LOG_FILE"):
        if not settings.getbool("LOG_FILE_APPEND"):
            Path(settings["LOG_FILE"]).write_bytes(b"")
        return logging.FileHandler(settings["LOG_FILE"], encoding="utf-8")  # "w" would not reopen after dictConfig
    if settings.getbool("LOG_ENABLED"):
        return _CurrentStderr()
    return logging.NullHandler()


def _formatter(settings: Any, *, is_terminal: bool) -> logging.Formatter:
    last: list[Any] = [structlog.processors.format_exc_info, _hidden]
    style = settings.get("LOG_STYLE", "auto")
    if style == "pretty" or (style == "auto" and is_terminal):
        colors = is_terminal and not settings.get("NO_COLOR")
        # rich's tracebacks would show local variables, which nothing masks
        last.append(structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback))
    else:
        last.append(structlog.processors.JSONRenderer(serializer=_to_json))
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _to_json(event: Any, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=repr).decode()
    except TypeError:  # a lone surrogate, an integer beyond 64 bit: what raises here goes past all masking
        return json.dumps(event, default=repr)
