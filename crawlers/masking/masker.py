"""Applies one site's rules to its texts, URLs, items and pages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from crawlers.masking.content import Decoded, decode, unveil
from crawlers.masking.keys import is_token
from crawlers.masking.patterns import FINDERS, Finder
from crawlers.masking.rules import FIELD_DEFAULTS
from pipelines.claims.resolver import ClaimError, decoded

if TYPE_CHECKING:
    from crawlers.items import Product
    from crawlers.masking.keys import MaskingKeys
    from crawlers.masking.rules import Action, MaskingRules

MakeToken = Callable[[str, str], str]
"""The token of a value of a kind."""
_Patterns = list[tuple[str, Finder, "Action"]]

_URL_FIELDS = ("url", "canonical_url", "images")
_IN_URLS = ("email", "iban", "phone")
"""A long number in a URL is a shop's own rather than a card's."""
_USER = re.compile(r"(?<=://)[^/?#@\s]*@")
_COMPONENT = re.compile(r"[^/?&=;#]+")
_SAFE_IN_COMPONENT = "!$'()*+,:@~%"
_OURS = frozenset(
    {
        "site",
        "fetched_at",
        "crawl_id",
        "record_id",
        "spider",
        "worker",
        "http_status",
        "content_hash",
        "content_type",
        "content_encoding",
        "rendered_by",
        "proxy",
        "extractor_version",
        "change",
        "changed_fields",
    }
)
"""Fields that Seine makes itself."""


class Content(NamedTuple):
    """A stored page; named as the item's fields."""

    content: bytes
    content_encoding: str | None


class Masker:
    """What it returns holds nothing more that it would mask: masking twice is masking once."""

    def __init__(self, rules: MaskingRules, keys: MaskingKeys, country: str | None = None):
        active = rules.active_patterns
        self._patterns: _Patterns = [(name, find, active[name]) for name, find in FINDERS.items() if name in active]
        self._in_urls: _Patterns = [pattern for pattern in self._patterns if pattern[0] in _IN_URLS]
        self._fields = rules.active_fields
        self._searched = rules.searched_fields
        self._query = {name.lower(): action for name, action in rules.active_query.items()}
        self._parameter = _parameter(self._query, r"[^&#\s\"'<>;\\]")
        self._parameter_of_url = _parameter(self._query, "[^&#;]")
        self._of_content = rules.of_content
        self._keys = keys
        self._country = country

    def hides(self, field: str) -> bool:
        """Whether a rule replaces the whole of `field`, so that no message may show it."""
        return field in self._fields

    def text(self, text: str) -> str:
        """`text` without what the patterns find, and with the URLs in it masked."""
        return self._masked(text, self._patterns, self._keys.token)

    def url(self, url: str) -> str:
        """`url` without its user, its named parameters, and what the patterns find in its components."""
        return self._url(url, self._keys.token)

    def identity(self, identity: str, values: Mapping[str, Any]) -> str:
        """A product's identity, as its key has it: under the oldest key, so that a newer one changes no record's key.

        `values` are the product's fields: an identity that one of them gave is masked as that one is.
        """
        for name in self._fields:
            if identity and values.get(name) == identity:
                return str(self._whole(name, identity, self._keys.lasting_token))
        return self._url(identity, self._keys.lasting_token) if "canonical_url" in self._searched else identity

    def url_spellings(self, url: str) -> set[str]:
        """`url` as records may have it: as it is, and masked under each of the keys."""
        return {url, *(self._url(url, keys.token) for keys in self._keys.each() or [self._keys])}

    def identify(self, item: Product) -> None:
        """Mask the identity of `item` in place."""
        item.identity = self.identity(
            item.identity, {name: getattr(item, name) for name in self._fields if name != "content"}
        )

    def item(self, item: Product) -> Product:
        """`item`, masked in place; its content is `content`'s to mask."""
        self.identify(item)
        for name in FIELD_DEFAULTS:
            if name != "content":
                setattr(item, name, self._field(name, getattr(item, name)))
        return item

    def mapping(self, values: Mapping[Any, Any]) -> dict[Any, Any]:
        """The fields of an item of any kind, whatever they hold, with what cannot be masked replaced by its hash."""
        masked: dict[Any, Any] = {}
        for name, value in values.items():
            if name == "content" and isinstance(value, bytes):
                content = self.content(value, values.get("content_type"), values.get("content_encoding"))
                masked |= content._asdict() if content is not None else {"content": hash_of(value)}
            elif name in _OURS:
                masked.setdefault(name, value)
            elif name == "identity" and isinstance(value, str):
                masked[name] = self.identity(value, values)
            elif name in FIELD_DEFAULTS and name != "content":
                masked[name] = self._field(name, value)
            else:
                masked[self._anything(name)] = self._anything(value)
        return masked

    def content(self, body: bytes, content_type: str | None, encoding: str | None = None) -> Content | None:
        """A stored page, masked; None where it is no text, cannot be decoded, or the rules do not let it be stored."""
        if self._of_content == "keep":
            return Content(body, encoding)
        page = _page(body, content_type, encoding) if self._of_content == "patterns" else None
        if page is None:
            return None
        text = page.text
        if self._patterns:
            text = unveil(text, self.text, self._address)
        text = self.text(text)
        return Content(body, encoding) if text == page.text else Content(page.encoded(text), None)

    def _field(self, name: str, value: Any) -> Any:
        """The value of a field that has a rule, or its default."""
        if value is None or (name not in self._fields and name not in self._searched):
            return value
        if isinstance(value, list):
            masked = [self._field(name, one) for one in value]
            return [one for one in masked if one is not None]
        if name in self._fields:
            return self._whole(name, value, self._keys.token)
        if isinstance(value, str):
            return self.url(value) if name in _URL_FIELDS else self.text(value)
        return self._anything(value)

    def _whole(self, name: str, value: Any, token: MakeToken) -> str | None:
        text = value if isinstance(value, str) else repr(value)
        if self._fields[name] == "drop":
            return None
        return text if is_token(text) or not text else _replacement(self._fields[name], name, text, token)

    def _anything(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            content = self.content(value, None)
            return hash_of(value) if content is None else content.content
        if isinstance(value, Mapping):
            return {self._anything(name): self._anything(one) for name, one in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._anything(one) for one in value]
        shown = repr(value)
        masked = self.text(shown)
        return value if masked == shown else masked

    def _url(self, url: str, token: MakeToken) -> str:
        if "@" in url:
            url = _USER.sub("", url)
        if self._parameter_of_url is not None and "=" in url:
            url = self._parameter_of_url.sub(lambda match: self._argument(match, token), url)
        plain = unquote(url)
        if self._replaced(plain, self._in_urls, token) == plain:
            return url
        url = _COMPONENT.sub(lambda match: self._component(match[0], token), url)
        return self._replaced(url, self._in_urls, token)

    def _component(self, component: str, token: MakeToken) -> str:
        plain = unquote(component)
        masked = self._replaced(plain, self._in_urls, token)
        return component if masked == plain else quote(masked, safe=_SAFE_IN_COMPONENT)

    def _masked(self, text: str, patterns: _Patterns, token: MakeToken) -> str:
        if self._parameter is not None and ("=" in text or "%3D" in text):
            text = self._parameter.sub(lambda match: self._argument(match, token), text)
        return self._replaced(text, patterns, token)

    def _replaced(self, text: str, patterns: _Patterns, token: MakeToken) -> str:
        for name, find, action in patterns:
            parts, end = [], 0
            for found in find(text, self._country):
                parts += [text[end : found.start], _replacement(action, name, found.normal, token)]
                end = found.end
            if parts:
                text = "".join((*parts, text[end:]))
        return text

    def _argument(self, match: re.Match[str], token: MakeToken) -> str:
        """A parameter of a query, with its value masked."""
        name, value = match["name"], match["value"]
        if not value or is_token(value):
            return match[0]
        return match["before"] + _replacement(self._query[name.lower()], name.lower(), unquote(value), token)

    def _address(self, address: str) -> str:
        for name, _, action in self._patterns:
            if name == "email":
                return _replacement(action, name, address, self._keys.token)
        return address


def _page(body: bytes, content_type: str | None, encoding: str | None) -> Decoded | None:
    try:
        return decode(decoded(body, encoding), content_type)
    except ClaimError:
        return None


def hash_of(data: bytes) -> dict[str, Any]:
    """What is left of bytes that cannot be masked."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def _replacement(action: Action, kind: str, value: str, token: MakeToken) -> str:
    if action == "drop":
        return ""
    return f"*{kind}*" if action == "mask" else token(kind, value)


def _parameter(query: Mapping[str, Any], of_value: str) -> re.Pattern[str] | None:
    """Finds the named parameters of URLs, also where HTML, JavaScript or another URL escapes what is around them.

    `of_value` is a character of their values.
    """
    if not query:
        return None
    names = "|".join(re.escape(name) for name in query)
    return re.compile(
        rf"(?P<before>[?&;F6](?:(?<=[?&;])|(?<=%3F)|(?<=%26)|(?<=\\u0026))(?P<name>{names})(?:=|%3D))"
        rf"(?P<value>(?:(?!%26){of_value})*)",
        re.IGNORECASE,
    )
