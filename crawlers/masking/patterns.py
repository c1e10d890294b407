"""Finds e-mail addresses, phone numbers, IBANs and card numbers in text and markup.

Pages are full of digits that are nobody's: each finder takes only what a check digit, an issuer, a country's numbering
plan or the word before it confirms. All are linear in the length of the text, whatever a page does; each expression
opens with a set of characters, which `re` skips to five times faster than to an alternation or a look-behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from stdnum import iban, luhn, numdb


class Found(NamedTuple):
    """Where something personal stands, and its one spelling: the same for every way of writing it."""

    start: int
    end: int
    normal: str


Finder = Callable[[str, str | None], Iterator[Found]]
"""What a text holds, from left to right and without overlap; the second argument is the page's country, as `DE`."""


def _candidates(expression: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Matches that may overlap: what is none of ours must not hide one that begins inside it."""
    match = expression.search(text)
    while match is not None:
        yield match
        match = expression.search(text, match.start() + 1)


# --- E-mail --------------------------------------------------------------------------------------------------------
_AT = re.compile(r"[@＠%&\\](?:(?<=[@＠])|(?<=%)40|(?<=&)(?:#0*64;|#[xX]0*40;|commat;)|(?<=\\)u0040)")
_LONGEST_LOCAL = 64
_LOCAL = re.compile(
    r"(?:(?<=%)[0-9A-Fa-f]{2}|(?<=\\)(?:u[0-9A-Fa-f]{4}|[nrtbf]))?"  # the rest of an escape is no part of it
    r"(?P<local>[\w+-](?:%2[BbEe]|[\w.+'-])*)$"
)
_MARKS = "²³¹¼-¾⁰⁴-⁹₀-₉⅐-⅟①-⒛⓪-⓿❶-➓"
"""Of footnotes and the like: `\\w` has them, `\\d` has not. They may follow an address, and are no part of it."""
_DOMAIN = re.compile(
    rf"(?:[^\W_](?:[\w-]{{0,61}}[^\W_])?\.){{1,8}}(?P<last>[^\W\d_{_MARKS}]{{2,24}})(?![^\W_{_MARKS}])"
    rf"(?:(?:{_AT.pattern})[\w.-]*)*"  # what hangs on goes too: a half of it would look like another address
)
_FILE = re.compile("avif|bmp|css|eot|gif|ico|jpe?g|m?js|json|map|mp4|pdf|png|svg|ttf|web[mp]|woff", re.IGNORECASE)
"""How names such as logo@2x.png end."""


def emails(text: str, _country: str | None = None) -> Iterator[Found]:
    """E-mail addresses, also where a URL, HTML or JavaScript escapes the at sign."""
    end = 0
    for at in _AT.finditer(text):
        if at.start() < end:
            continue
        domain = _DOMAIN.match(text, at.end())
        if domain is None or _FILE.fullmatch(domain["last"]):
            continue
        first = max(end, at.start() - _LONGEST_LOCAL)
        local = _LOCAL.search(text[first : at.start()])
        if local is None:
            continue
        end = domain.end()
        normal = f"{unquote(local['local'])}@{text[domain.start() : end]}"
        yield Found(first + local.start("local"), end, normal.lower())


# --- Phone ---------------------------------------------------------------------------------------------------------
_NUMBER = r"(?P<number>[(\[]?\d(?:[\s()\[\]./‐-–-]{0,3}\d){5,16})(?![^\W_])"
_INTERNATIONAL = re.compile(rf"[+＋%&\\](?:(?<=[+＋])|(?<=%)2[Bb]|(?<=&)#43;|(?<=\\)u002[Bb]){_NUMBER}")
_ANNOUNCED = re.compile(
    r"[tTpPfFmMhHwW電☎📞](?<![^\W_].)"
    r"(?i:(?<=t)(?:el(?:efon[oe]?|ephone|éfono)?|éléphone)|(?<=p)hone|(?<=f)(?:on|ax)|(?<=m)obile?"
    r"|(?<=h)(?:andy|otline)|(?<=w)hatsapp|(?<=電)話|(?<=[☎📞]))"
    rf"(?P<between>[\s.:)：/-]{{0,4}}){_NUMBER}"
)
_FEWEST_DIGITS, _MOST_DIGITS = 7, 15


def phones(text: str, country: str | None = None) -> Iterator[Found]:
    """Phone numbers that their country's plan knows: with a plus sign anywhere, others after a word such as Tel."""
    end = 0
    for one in sorted([*_international(text), *_announced(text, country)]):
        if one.start >= end:
            end = one.end
            yield one


def _international(text: str) -> Iterator[Found]:
    end = -1
    for match in _INTERNATIONAL.finditer(text):
        before = text[match.start() - 1 : match.start()]
        if (before.isalnum() or before == "+") and match.start() != end:  # a sum, or the end of something longer
            continue
        if hit := _opening_phone(f"+{match['number']}", None):
            end = match.start("number") - 1 + hit.end
            yield Found(match.start(), end, hit.normal)


def _announced(text: str, country: str | None) -> Iterator[Found]:
    for match in _ANNOUNCED.finditer(text):
        number, start = match["number"], match.start("number")
        if number.startswith("00"):
            if hit := _opening_phone(f"+{number[2:]}", None):
                yield Found(start, start + 1 + hit.end, hit.normal)
        elif hit := _opening_phone(number, country):
            yield Found(start, start + hit.end, hit.normal)
        elif match["between"] == ":" and text[match.start() : start] == "tel:":  # a URI says by itself what it is
            digits = re.sub(r"\D", "", number)
            if _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS:
                yield Found(start, match.end("number"), digits)


def _opening_phone(candidate: str, country: str | None) -> Found | None:
    """The valid phone number that `candidate` opens with, in E.164."""
    from phonenumbers import Leniency, PhoneNumberFormat, PhoneNumberMatcher, format_number

    for match in PhoneNumberMatcher(candidate, country, Leniency.VALID, max_tries=3):
        if match.start <= 1:
            return Found(0, match.end, format_number(match.number, PhoneNumberFormat.E164))
    return None


# --- IBAN ----------------------------------------------------------------------------------------------------------
_IBAN = re.compile(r"[A-Z][A-Z]\d\d(?<![^\W_]....)(?:[ \u00a0\u202f-]?[A-Z0-9]){11,30}", re.ASCII)
_STRUCTURE_LENGTH = re.compile(r"(\d+)!")


def ibans(text: str, _country: str | None = None) -> Iterator[Found]:
    """IBANs of their country's length and structure, with the right check digits; in groups or in one."""
    for match in _candidates(_IBAN, text):
        characters = [index for index, char in enumerate(match[0]) if char.isalnum()]
        length = _iban_length(match[0][:2])
        if not 0 < length <= len(characters):
            continue
        end = match.start() + characters[length - 1] + 1
        if not text[end : end + 1].isalnum() and iban.is_valid(text[match.start() : end], check_country=False):
            yield Found(match.start(), end, "".join(match[0][index] for index in characters[:length]))


@lru_cache(maxsize=1024)
def _iban_length(country: str) -> int:
    """Characters of an IBAN of `country`; 0 where it has none."""
    structure = numdb.get("iban").info(country)[0][1].get("bban")
    return 4 + sum(map(int, _STRUCTURE_LENGTH.findall(structure))) if structure else 0


# --- Cards ---------------------------------------------------------------------------------------------------------
_GAP = "[ \u00a0-]"
_MAYBE_CARD = re.compile(rf"[2-6]\d{{3}}{_GAP}?(?:\d{{4}}{_GAP}?\d{{4}}{_GAP}?\d{{4}}|\d{{6}}{_GAP}?\d{{4}})", re.ASCII)
_CARD = re.compile(
    r"(?<!\w)(?<!\w-)(?<!\d[.,])(?:"
    rf"(?:[2456]\d|35)\d\d(?P<gap>{_GAP}?)\d{{4}}(?P=gap)\d{{4}}(?P=gap)\d{{4}}(?:(?P=gap)\d{{3}})?"
    rf"|3[47]\d\d(?P<amex>{_GAP}?)\d{{6}}(?P=amex)\d{{5}}"
    rf"|3[0689]\d\d(?P<diners>{_GAP})\d{{6}}(?P=diners)\d{{4}}"  # in one, it is rather a shop's own number or a GTIN
    r")(?!\w|-\w|[.,]\d)",
    re.ASCII,
)
_ISSUER = re.compile(
    r"4|5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720|3[4789]|36|30[0-5]|352[89]|35[3-8]|6011|64[4-9]|65|62"
)


def cards(text: str, _country: str | None = None) -> Iterator[Found]:
    """Payment cards: an issuer's prefix, its length and grouping, and Luhn's check digit."""
    for candidate in _candidates(_MAYBE_CARD, text):
        match = _CARD.match(text, candidate.start())
        if match is None:
            continue
        digits = re.sub(r"\D", "", match[0])
        if _ISSUER.match(digits) and luhn.is_valid(digits):
            yield Found(match.start(), match.end(), digits)


FINDERS: dict[str, Finder] = {"email": emails, "iban": ibans, "card": cards, "phone": phones}
"""By name, in the order in which they are applied: an address may hold digits, and a card's are no phone's."""
