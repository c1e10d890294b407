"""A stored page as text, so that patterns can be looked for in it: decoded, and with what hides addresses undone."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, NamedTuple

from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding, read_bom, resolve_encoding

if TYPE_CHECKING:
    from collections.abc import Callable

_IS_TEXT = re.compile(
    r"text/|application/([\w.-]+\+)?(json|xml|javascript|ecmascript|x-javascript|xhtml)", re.IGNORECASE
)
_ENTITY = re.compile(r"&#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6});[^\s<>\"']{0,256}")
_BEFORE = re.compile(r"[\w.+-]{0,64}$")
_CLOUDFLARE = re.compile(
    r"(?<=data-cfemail=[\"'])[0-9a-fA-F]{4,512}|(?<=/cdn-cgi/l/email-protection#)[0-9a-fA-F]{4,512}"
)


class Decoded(NamedTuple):
    """Text, and how it comes back to bytes."""

    text: str
    encoding: str

    def encoded(self, text: str) -> bytes:
        """`text` in the encoding of this one; bytes that were none of it come back as they were."""
        return text.encode(self.encoding, "surrogateescape")


def decode(body: bytes, content_type: str | None) -> Decoded | None:
    """The text of `body`; None where it is none, or does not say how to read it."""
    if content_type and not _IS_TEXT.match(content_type.strip()):
        return None
    for encoding in _encodings(body, content_type):
        try:
            text = body.decode(encoding, "surrogateescape")
        except (UnicodeError, LookupError):
            continue
        return None if "\0" in text else Decoded(text, encoding)
    return None


def _encodings(body: bytes, content_type: str | None) -> list[str]:
    """The encoding that its byte order mark, its header or its markup declares; UTF-8 where none does."""
    marked, _ = read_bom(body)
    if marked:
        return [str(marked)]
    declared = http_content_type_encoding(content_type) or html_body_declared_encoding(body)
    return [resolve_encoding(declared) or declared] if declared else ["utf-8"]


def unveil(text: str, masked: Callable[[str], str], of_address: Callable[[str], str]) -> str:
    """`text` with `masked` applied to words that character references hide, `of_address` to Cloudflare's addresses."""
    if "&#" in text:
        text = _without_entities(text, masked)
    if "cfemail" in text or "email-protection#" in text:
        text = _CLOUDFLARE.sub(lambda match: of_address(_cloudflare_address(match[0])), text)
    return text


def _without_entities(text: str, masked: Callable[[str], str]) -> str:
    parts, end = [], 0
    for match in _ENTITY.finditer(text):
        before = _BEFORE.search(text[max(end, match.start() - 64) : match.start()])
        start = match.start() - len(before[0] if before else "")
        plain = html.unescape(text[start : match.end()])
        if (result := masked(plain)) != plain:
            parts += [text[end:start], html.escape(result)]
            end = match.end()
    return "".join((*parts, text[end:])) if parts else text


def _cloudflare_address(code: str) -> str:
    """The address in a data-cfemail: each byte but the first is one of its, xor the first."""
    key, *rest = bytes.fromhex(code[: len(code) // 2 * 2])
    return bytes(byte ^ key for byte in rest).decode("utf-8", "replace").lower()
