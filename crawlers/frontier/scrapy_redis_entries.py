"""The entries of a scrapy-redis queue as requests. No code runs for what they say, unless that was allowed."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from scrapy import Request
from scrapy.utils.request import request_from_dict
from scrapy_redis import picklecompat

from crawlers.domains import is_web_url
from crawlers.exceptions import UserError
from crawlers.frontier.codec import RequestCodec, Unstorable

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Spider

_PICKLES = ("scrapy_redis.picklecompat", "pickle")
"""Serializers; the first one is scrapy-redis's own, where none is set."""
_JSON = ("json", "orjson", "ujson", "simplejson", "rapidjson")
_DATA_ONLY = (*_JSON, "msgpack")
"""Serializers that can only bring data, whatever the entries say."""
_PRIORITIES = 2**16 - 1
"""As the frontier's, either way."""
_EXAMPLES = 3
_REASONS = 20
_OTHER = "other reasons"


class Entry(NamedTuple):
    """One of a queue, as it lies there."""

    raw: bytes
    score: float | None = None
    """In a sorted set: the request's priority, negative."""


class Refused(Exception):
    """An entry that cannot be imported, and why. `request` is what could be read of it."""

    def __init__(self, reason: str, request: Request | None = None):
        super().__init__(reason)
        self.request = request


class Refusals:
    """What could not be imported: how often for each reason, and the first few."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, reason: str, example: str) -> None:
        """One more. A queue may have very many reasons; the first are told apart."""
        if reason not in self.counts and len(self.counts) >= _REASONS:
            reason = _OTHER
        self.counts[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(example)


class EntryReader:
    """Reads entries as SCHEDULER_SERIALIZER wrote them, and makes requests of a spider's of them."""

    def __init__(self, settings: Any, spider: Spider, *, may_run_code: bool):
        serializer = settings.get("SCHEDULER_SERIALIZER") or _PICKLES[0]
        self.serializer: str = serializer if isinstance(serializer, str) else serializer.__name__
        self._may_run_code = may_run_code
        self._loads = self._loader() if self.is_trusted else json.loads
        self._spider = spider
        self._codec = RequestCodec(spider)

    @property
    def runs_code(self) -> bool:
        """Whether reading an entry may run what it says, as was allowed."""
        return self._may_run_code and self.serializer not in _DATA_ONLY

    @property
    def is_trusted(self) -> bool:
        """Whether any entry may be read."""
        return self._may_run_code or self.serializer in _DATA_ONLY

    def check(self, entry: Entry, key: str) -> None:
        """UserError where reading it may run what it says, which was not allowed."""
        if self.serializer not in _PICKLES:
            raise UserError(
                f"{key}: the code of SCHEDULER_SERIALIZER={self.serializer} may run what the entries say: allow that "
                f"with --allow-pickle, or read them as plain JSON with -s SCHEDULER_SERIALIZER=json"
            )
        if not _is_json(entry.raw):
            raise UserError(
                f"{key}: its requests are pickled, and unpickling runs whatever they say: where only your own workers "
                f"can write to that Redis, allow it with --allow-pickle"
            )

    def read(self, entry: Entry) -> tuple[Request, bytes]:
        """The request, and its bytes for the frontier. Raises Refused."""
        fields = self._fields(entry.raw)
        names = {role: fields.pop(role, None) for role in ("callback", "errback")}
        if entry.score is not None:
            fields["priority"] = round(max(-_PRIORITIES, min(_PRIORITIES, -entry.score)))
        request = self._request(fields)
        for role, name in names.items():
            if name:
                setattr(request, role, self._method(name, role, request))
        try:
            return request, self._codec.encode(request)
        except Unstorable as error:
            raise Refused(str(error).removeprefix(f"{request}: "), request) from None

    def _loader(self) -> Callable[[bytes], Any]:
        if self.serializer in _JSON:
            return json.loads
        if self.serializer in _PICKLES:
            return _json_or_pickle
        try:
            module = importlib.import_module(self.serializer)
            loads: Callable[[bytes], Any] = module.loads
        except (ImportError, AttributeError) as error:
            raise UserError(f"SCHEDULER_SERIALIZER={self.serializer}: {error}") from None
        return loads

    def _fields(self, raw: bytes) -> dict[str, Any]:
        try:
            fields = self._loads(raw)
        except Exception as error:  # whatever is stored there
            raise Refused(f"unreadable: {type(error).__name__}") from None
        if not isinstance(fields, dict):
            raise Refused("unreadable: no dictionary")
        return {str(name): value for name, value in fields.items()}

    def _request(self, fields: dict[str, Any]) -> Request:
        url = fields.get("url")
        if not isinstance(url, str) or not is_web_url(url):
            raise Refused("no http or https URL")
        if "_class" in fields and not _is_request_class(fields["_class"]):
            raise Refused(f"{fields['_class']} is no class of requests that the spider's code imports")
        try:
            return request_from_dict(fields)
        except Exception as error:  # a field of another type
            raise Refused(f"no request: {type(error).__name__}: {error}") from None

    def _method(self, name: Any, role: str, request: Request) -> Callable[..., Any]:
        method = getattr(self._spider, str(name), None)
        if not inspect.ismethod(method) or str(name).startswith("__"):
            raise Refused(f"{role} {name!r} is no method of {self._spider.name}", request)
        return method


def _json_or_pickle(raw: bytes) -> Any:
    return json.loads(raw) if _is_json(raw) else picklecompat.loads(raw)


def _is_request_class(path: Any) -> bool:
    """Whether it is there already: to import what an entry names would run it."""
    module, _, name = str(path).rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return inspect.isclass(found) and issubclass(found, Request)


def _is_json(raw: bytes) -> bool:
    return raw.lstrip().startswith(b"{")
