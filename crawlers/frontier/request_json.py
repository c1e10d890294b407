"""A stored request as JSON that people can read, and back to the same bytes: what a dead letter of a request holds.

`{"url": …}` and the fields that differ from a plain GET's, as crawlers/frontier/codec.py stores them. Headers and body
are bytes there and text here. What JSON has no form for is an object with one key: `{"base64": …}` for bytes,
`{"pairs": …}` for a mapping whose keys are not all text, `{"float": …}` for nan and infinities.
"""

from __future__ import annotations

import hashlib
import json
import math
from base64 import b64decode, b64encode
from typing import Any

import msgpack

_FORMS = {"base64", "pairs", "float"}
_BYTES = ("headers", "body")
"""Fields whose texts are bytes: UTF-8 here, where they are that."""
SCREENSHOT = "screenshot"
"""What a letter says beside its request: the claim of the picture of what it died of."""


def to_json(data: bytes) -> bytes:
    """The JSON of a stored request. ValueError where `data` is none."""
    return json.dumps(form_of(data), ensure_ascii=False, separators=(",", ":")).encode()


def form_of(data: bytes) -> dict[str, Any]:
    """What that JSON says, which can be written as JSON. ValueError where `data` is no stored request."""
    try:
        url, *rest = msgpack.unpackb(data)
        fields = dict(rest[0]) if rest else {}
    except Exception as error:  # whatever msgpack makes of it, or Python of that
        raise ValueError(f"not a stored request: {error}") from None
    if not isinstance(url, str):
        raise ValueError(f"not a stored request: its URL is {url!r:.80}")
    try:
        form = {"url": url} | {name: _to_form(value, is_bytes=name in _BYTES) for name, value in fields.items()}
        json.dumps(form, ensure_ascii=False).encode()
    except (TypeError, UnicodeEncodeError) as error:
        raise ValueError(f"not a stored request: {error}") from None
    return form


def without_bytes(form: Any) -> Any:
    """The same with a hash in the place of bytes that are no text: nobody can look into those."""
    if isinstance(form, list):
        return [without_bytes(one) for one in form]
    if not isinstance(form, dict):
        return form
    if form.keys() == {"base64"}:
        return hash_of(b64decode(form["base64"]))
    return {name: without_bytes(one) for name, one in form.items()}


def hash_of(data: bytes) -> dict[str, Any]:
    """What is left of bytes that are not kept."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def from_json(value: bytes) -> bytes:
    """The stored request of such JSON. ValueError where it is none."""
    told = json.loads(value)
    if not isinstance(told, dict) or not isinstance(told.get("url"), str):
        raise ValueError("not a request: expected an object with its url")
    url = told.pop("url")
    told.pop(SCREENSHOT, None)
    fields = {name: _from_form(form, is_bytes=name in _BYTES) for name, form in told.items()}
    return msgpack.packb([url, fields] if fields else [url])  # type: ignore[no-any-return]


def _to_form(value: Any, *, is_bytes: bool) -> Any:
    if isinstance(value, bytes):
        text = _text(value) if is_bytes else None
        return {"base64": b64encode(value).decode()} if text is None else text
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, list):
        return [_to_form(one, is_bytes=is_bytes) for one in value]
    if not isinstance(value, dict):
        return value
    forms = [(_to_form(key, is_bytes=is_bytes), _to_form(one, is_bytes=is_bytes)) for key, one in value.items()]
    if all(isinstance(key, str) for key, _ in forms) and not _FORMS.issuperset(key for key, _ in forms):
        return dict(forms)
    return {"pairs": [list(pair) for pair in forms]} if forms else {}


def _from_form(form: Any, *, is_bytes: bool) -> Any:
    if isinstance(form, str):
        return form.encode() if is_bytes else form
    if isinstance(form, list):
        return [_from_form(one, is_bytes=is_bytes) for one in form]
    if not isinstance(form, dict):
        return form
    if len(form) == 1:
        [(name, value)] = form.items()
        if name == "base64":
            return b64decode(value)
        if name == "float":
            return float(value)
        if name == "pairs":
            return {_from_form(k, is_bytes=is_bytes): _from_form(v, is_bytes=is_bytes) for k, v in value}
    return {_from_form(k, is_bytes=is_bytes): _from_form(v, is_bytes=is_bytes) for k, v in form.items()}


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
