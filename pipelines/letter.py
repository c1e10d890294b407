"""What a dead letter says, of an item or of a request: key, value and headers, masked by the rules of its site."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
from itemadapter import ItemAdapter

from crawlers.domains import domain_of
from crawlers.frontier.request_json import SCREENSHOT, form_of, hash_of, without_bytes
from crawlers.items import PNG
from crawlers.outcomes import CURRENT
from pipelines.schemas import committed_versions

if TYPE_CHECKING:
    from crawlers.failed_request import FailedRequest
    from crawlers.items import ClaimCheck
    from crawlers.masking.masker import Masker
    from crawlers.masking.masking import Masking

ITEM, REQUEST = "item", "request"
"""Kinds of letters: what their value is."""
MESSAGE = "__connect.errors.exception.message"
_CLASS = "__connect.errors.exception.class.name"
_LONGEST_TEXT = 8192
_OF_ITEM = ("url", "site", "crawl_id", "record_id", "spider")
"""Fields of an item that its letter tells; what it lacks is told of its request."""
_JSON, _BYTES = "application/json", "application/octet-stream"

_encode = msgspec.json.Encoder(enc_hook=repr).encode


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter before it is written."""

    key: str
    value: bytes
    headers: dict[str, Any]
    """By name; those that are None or '' are left out."""
    item: Any = None

    @property
    def record(self) -> tuple[bytes, list[tuple[str, bytes]]]:
        """(key, headers) as bytes."""
        texts = ((name, str(value)) for name, value in self.headers.items() if value not in (None, ""))
        return _bytes_of(self.key), [(name, _bytes_of(text)) for name, text in texts]

    def holding(self, about: dict[str, Any], **headers: Any) -> Letter:
        """The same letter with what is known about its value in the value's place, and with its address."""
        value = _encode({**about, "url": _cut(self.headers.get("url"))})
        return replace(self, value=value, headers={**self.headers, **headers})


class Wording:
    """What the letters of a worker say."""

    def __init__(self, masking: Masking, subject: str, spider: Any = None):
        self._masking = masking
        self._subject = subject
        self._spider = spider
        self._version = max(committed_versions("products"))

    def of_item(self, item: Any, error: Exception, stage: str) -> Letter:
        """The letter of an item that `error` befell."""
        fields = ItemAdapter(item).asdict() if ItemAdapter.is_item(item) else {"item": item}
        origin = {"spider": getattr(self._spider, "name", ""), "crawl_id": getattr(self._spider, "crawl_id", "")}
        origin |= _origin()
        message = str(error)
        if (masker := self._masking.of_site(str(fields.get("site") or origin.get("site") or ""))) is not None:
            fields, message = masker.mapping(fields), masker.text(message)
            origin |= {"url": masker.url(str(origin.get("url") or ""))}
        told = {name: value for name in _OF_ITEM if (value := fields.get(name))}
        value = _json_of(fields)
        what = told.get("record_id") or f"{origin.get('url', '')} {hashlib.sha256(value).hexdigest()}"
        headers = {
            **self._about(ITEM, stage, type(error).__name__, message),
            **origin,
            **told,
            "letter_id": _letter_id(ITEM, what, stage, origin["death"], origin["replays"]),
            "schema_subject": f"{self._subject}-value",
            "schema_version": self._version,
            "domain": domain_of(str(told.get("url") or origin.get("url") or "")),
        }
        key = "/".join(str(fields.get(name) or "") for name in ("site", "identity"))
        return Letter(key, value, headers, item)

    def may_show_pictures(self, site: str) -> bool:
        """Whether the letters of `site` may refer to pictures, which cannot be masked."""
        masker = self._masking.of_site(site)
        return masker is None or masker.content(b"", PNG) is not None

    def of_request(self, failed: FailedRequest, screenshot: ClaimCheck | None = None) -> Letter:
        """The letter of a request that ended dead, and refers to the screenshot of what it died of."""
        masker = self._masking.of_site(failed.site)
        value, kind, is_masked = _request_value(failed, masker, screenshot)
        url, why = (failed.url, failed.why) if masker is None else (masker.url(failed.url), masker.text(failed.why))
        headers = {
            **self._about(REQUEST, failed.stage, failed.reason, why),
            "content-type": kind,
            SCREENSHOT: screenshot.uri if screenshot is not None else "",
            "masked": "1" if is_masked else "",
            "letter_id": _letter_id(REQUEST, failed.crawl, failed.spider, failed.id.hex(), failed.death),
            "attempt": failed.attempt,
            "death": failed.death,
            "replays": failed.death - 1,
            "request_id": failed.id.hex(),
            "budget": failed.budget,
            "domain": failed.domain,
            "url": url,
            "site": failed.site,
            "crawl_id": failed.crawl,
            "spider": failed.spider,
            "traceparent": failed.traceparent,
        }
        return Letter(f"{failed.site or failed.domain}/{url}", value, headers)

    def _about(self, kind: str, stage: str, error: str, message: str) -> dict[str, Any]:
        return {
            "__connect.errors.topic": self._subject,
            "__connect.errors.stage": stage.upper(),
            _CLASS: error,
            MESSAGE: message,
            "kind": kind,
            "stage": stage,
            "error": error,
            "content-type": _JSON,
        }


def _origin() -> dict[str, Any]:
    """Of the request that is being worked on, or of the letter that is being replayed, as headers."""
    current = CURRENT.get()
    if current is None:
        return {"attempt": 1, "death": 1, "replays": 0}
    if current.letter is not None:
        return {**current.letter, "replays": current.letter["replays"] + 1}
    lease, request = current.lease, current.request
    if lease is None:
        retried = int(request.meta.get("retry_times", 0)) if request is not None else 0
        return {"url": getattr(request, "url", ""), "attempt": 1 + retried, "death": 1, "replays": 0}
    return {
        "url": getattr(request, "url", ""),
        "attempt": lease.attempts + 1,
        "death": lease.revived + 1,
        "replays": lease.revived,
        "request_id": lease.id.hex(),
        "budget": lease.domain,
    }


def _request_value(
    failed: FailedRequest, masker: Masker | None, screenshot: ClaimCheck | None
) -> tuple[bytes, str, bool]:
    """(value, content type, whether it is not the request as it was): JSON; the bytes of what is no request."""
    shown = {SCREENSHOT: asdict(screenshot)} if screenshot is not None else {}
    try:
        form = form_of(failed.data) if failed.data else {"url": failed.url, "unstorable": True}
    except ValueError:
        if masker is None:
            return failed.data, _BYTES, False
        return _json_of(hash_of(failed.data)), _JSON, True  # nobody knows what is in there
    if masker is None:
        return _json_of(form | shown), _JSON, False
    masked = masker.mapping(without_bytes(form))
    return _json_of(masked | shown), _JSON, masked != form


def _letter_id(*parts: object) -> str:
    """The same for the same death, however often its letter is written."""
    return hashlib.sha256("|".join(map(str, parts)).encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _json_of(fields: dict[str, Any]) -> bytes:
    """Whatever is in them: what does not fit its schema must fit its letter."""
    try:
        return _encode(fields)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can escape and UTF-8 cannot hold
        return json.dumps(fields, default=str, skipkeys=True).encode()
    except (TypeError, ValueError, RecursionError):
        return json.dumps({"item": repr(fields)}).encode()


def _cut(text: Any) -> str:
    return str(text or "")[:_LONGEST_TEXT]


def _bytes_of(text: str) -> bytes:
    return _cut(text).encode("utf-8", "replace")
