"""What the patterns find and what they leave: each kind in all its spellings, none among a shop's own numbers."""

from __future__ import annotations

import string
import time

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat
from stdnum import iban, luhn, numdb

from crawlers.masking.patterns import FINDERS, Found

_REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
_BETWEEN = st.sampled_from(("", " ", "\n", ", ", "(", ")", ": ", "<td>", '">', "'", "…", " | "))
_LOCAL = st.from_regex(r"[a-z0-9_+][a-z0-9._+-]{0,20}[a-z0-9]", fullmatch=True)
_DOMAIN = st.from_regex(r"([a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\.){1,3}(com|de|example|museum|рф)", fullmatch=True)

in_any_time = settings(deadline=None)
"""The first number of a country loads its numbering plan."""


def found(kind: str, text: str, country: str | None = None) -> list[str]:
    """The parts of `text` that a finder takes."""
    return [text[one.start : one.end] for one in FINDERS[kind](text, country)]


def normals(kind: str, text: str, country: str | None = None) -> list[str]:
    return [one.normal for one in FINDERS[kind](text, country)]


# --- E-mail --------------------------------------------------------------------------------------------------------
@in_any_time
@given(_LOCAL, _DOMAIN, _BETWEEN, _BETWEEN)
def test_an_address_is_found_in_any_surroundings(local: str, domain: str, before: str, after: str) -> None:
    text = f"{before}{local}@{domain}{after} and more"
    assert found("email", text) == [f"{local}@{domain}"]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Jane.Doe@Shop.Example", "jane.doe@shop.example"),
        ("mailto:jane%40shop.example?subject=x", "jane@shop.example"),
        ("?next=https%3A%2F%2Fx%3Femail%3Djane%40shop.example", "jane@shop.example"),
        ("jane@shop.example¹A1", "jane@shop.example"),
        ("jane%2Bnews%40shop.example", "jane+news@shop.example"),
        ("jane&#64;shop.example", "jane@shop.example"),
        ("jane&#x40;shop.example", "jane@shop.example"),
        ("jane&commat;shop.example", "jane@shop.example"),
        (r'{"mail":"\u003cjane\u0040shop.example"}', "jane@shop.example"),
        (r"Write to\njane@shop.example\nsoon", "jane@shop.example"),
        ("jane＠shop.example", "jane@shop.example"),
        ("o'brien@shop.example", "o'brien@shop.example"),
        ("'jane@shop.example'", "jane@shop.example"),
        ("jane@shop.example.", "jane@shop.example"),
        ("jürgen@müller.example", "jürgen@müller.example"),
        ("jane@shop.example@other.example", "jane@shop.example@other.example"),
    ],
)
def test_every_spelling_of_an_address_is_the_same_address(text: str, normal: str) -> None:
    assert normals("email", text) == [normal]


@pytest.mark.parametrize(
    "text",
    [
        "logo@2x.png",
        "sprite@3x.svg",
        "@media screen",
        "npm i vue@3.2.1",
        "a @ b.com",
        "jane@localhost",
        "jane@.com",
        "@jane",
        "https://medium.com/@jane",
        '{"@type":"Product"}',
        "5 x 3@9.99",
    ],
)
def test_what_only_has_an_at_sign_is_left(text: str) -> None:
    assert found("email", text) == []


# --- Phone ---------------------------------------------------------------------------------------------------------
@in_any_time
@given(st.sampled_from(_REGIONS), st.sampled_from(("E164", "INTERNATIONAL", "RFC3966")), _BETWEEN, _BETWEEN)
def test_an_international_number_of_any_country_is_found(region: str, form: str, before: str, after: str) -> None:
    number = phonenumbers.example_number(region)
    text = phonenumbers.format_number(number, getattr(PhoneNumberFormat, form))
    assert normals("phone", f"x{before or ' '}{text}{after} y") == [
        phonenumbers.format_number(number, PhoneNumberFormat.E164)
    ]


@in_any_time
@given(st.sampled_from(_REGIONS), st.sampled_from(("Tel. ", "Phone: ", "Fax ", "WhatsApp: ", "☎ ", "電話：")))
def test_a_national_number_is_found_after_a_word_that_says_so_where_the_country_is_known(
    region: str, word: str
) -> None:
    number = phonenumbers.example_number(region)
    text = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    if sum(char.isdigit() for char in text) > 5:  # Ascension Island's have five
        assert normals("phone", f"{word}{text}", region) == [phonenumbers.format_number(number, PhoneNumberFormat.E164)]


@pytest.mark.parametrize(
    ("text", "country", "expected"),
    [
        ('<a href="tel:073-2009001">', None, ["073-2009001"]),
        ("Tel. 0049 30 901820", None, ["0049 30 901820"]),
        ("Tel. 030/901820", "DE", ["030/901820"]),
        ("Tel. 030 901820", None, []),
        ("030 901820", "DE", []),
        ("wa.me/?phone=%2B4930901820", None, ["%2B4930901820"]),
        ("+49 30 901820 or +1 (202) 456-1111", None, ["+49 30 901820", "+1 (202) 456-1111"]),
        ("iPhone 15 128 GB, Phone 15 12345678", "DE", []),
        ("1+49309018200", None, []),
        ("+12 +345 +1000000", None, []),
        ("Hotel 030 901820", "DE", []),
        ("1.299,00 +19 % MwSt., 12+24 Monate", "DE", []),
    ],
)
def test_only_what_is_announced_or_international_is_a_number(
    text: str, country: str | None, expected: list[str]
) -> None:
    assert found("phone", text, country) == expected


# --- IBAN ----------------------------------------------------------------------------------------------------------
_STRUCTURES = {
    country: numdb.get("iban").info(country)[0][1]["bban"]
    for country in (a + b for a in string.ascii_uppercase for b in string.ascii_uppercase)
    if numdb.get("iban").info(country)[0][1].get("bban")
}
_OF = {"n": string.digits, "a": string.ascii_uppercase, "c": string.digits + string.ascii_uppercase}


@st.composite
def ibans(draw: st.DrawFn) -> str:
    """A right IBAN of any country."""
    country = draw(st.sampled_from(sorted(_STRUCTURES)))
    parts = [
        part.split("!")
        for part in _STRUCTURES[country].replace("n", "n ").replace("a", "a ").replace("c", "c ").split()
    ]
    bban = "".join(draw(st.text(_OF[kind], min_size=int(size), max_size=int(size))) for size, kind in parts)
    return f"{country}{iban.calc_check_digits(f'{country}00{bban}')}{bban}"


@in_any_time
@given(ibans(), st.sampled_from(("", " ", "\u00a0", "-")), _BETWEEN, _BETWEEN)
def test_an_iban_is_found_in_one_or_in_groups(number: str, gap: str, before: str, after: str) -> None:
    text = iban.format(number, gap)
    assert normals("iban", f"{before}{text}{after} BIC") == [number]


@in_any_time
@given(ibans(), st.integers(1, 9))
def test_a_wrong_check_digit_is_no_iban(number: str, by: int) -> None:
    wrong = number[:3] + str((int(number[3]) + by) % 10) + number[4:]
    assert found("iban", wrong) == []


# --- Cards ---------------------------------------------------------------------------------------------------------
_CARDS = {
    "4": 16,
    "51": 16,
    "55": 16,
    "2221": 16,
    "2720": 16,
    "34": 15,
    "37": 15,
    "6011": 16,
    "65": 16,
    "3528": 16,
    "62": 19,
}
_GROUPS = {16: (4, 4, 4, 4), 19: (4, 4, 4, 4, 3), 15: (4, 6, 5)}


@st.composite
def cards(draw: st.DrawFn) -> str:
    """A card's right number, of any issuer."""
    prefix = draw(st.sampled_from(sorted(_CARDS)))
    rest = _CARDS[prefix] - len(prefix) - 1
    number = prefix + draw(st.text(string.digits, min_size=rest, max_size=rest))
    return number + luhn.calc_check_digit(number)


def grouped(number: str, gap: str) -> str:
    parts, start = [], 0
    for size in _GROUPS[len(number)]:
        parts.append(number[start : start + size])
        start += size
    return gap.join(parts)


@in_any_time
@given(cards(), st.sampled_from(("", " ", "-", "\u00a0")), _BETWEEN, _BETWEEN)
def test_a_card_is_found_in_one_or_in_groups(number: str, gap: str, before: str, after: str) -> None:
    assert normals("card", f"{before}{grouped(number, gap)}{after} 12/29") == [number]


@in_any_time
@given(cards(), st.integers(1, 9))
def test_a_wrong_check_digit_is_no_card(number: str, by: int) -> None:
    assert found("card", number[:-1] + str((int(number[-1]) + by) % 10)) == []


@in_any_time
@given(cards(), st.sampled_from(("a{}", "{}b", "0.{}", "1{}", "{}2", "sku-{}", "{}-x", "3,{}", "{}.5")))
def test_a_part_of_something_longer_is_no_card(number: str, form: str) -> None:
    assert found("card", form.format(number)) == []


def test_diners_clubs_cards_are_found_in_their_groups_only() -> None:
    assert found("card", "3056 930902 5904") == ["3056 930902 5904"]
    assert found("card", "30569309025904") == []


# --- A shop's own numbers ------------------------------------------------------------------------------------------
@st.composite
def gtins(draw: st.DrawFn) -> str:
    """A GTIN with its right check digit."""
    size = draw(st.sampled_from((8, 12, 13, 14)))
    digits = draw(st.text(string.digits, min_size=size - 1, max_size=size - 1))
    total = sum(int(digit) * (3 if index % 2 == 0 else 1) for index, digit in enumerate(reversed(digits)))
    return digits + str(-total % 10)


@in_any_time
@given(
    st.one_of(
        gtins(),
        st.from_regex(r"[0-9]{1,14}", fullmatch=True),
        st.from_regex(r"[A-Z]{1,4}-?[0-9]{2,10}(-[0-9]{1,3})?", fullmatch=True),
        st.from_regex(r"[0-9]{1,3}([.,' ][0-9]{3}){0,3}([.,][0-9]{2})?", fullmatch=True),
        st.from_regex(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", fullmatch=True),
        st.uuids().map(str),
        st.binary(min_size=16, max_size=32).map(bytes.hex),
    ),
    st.sampled_from(("{}", "GTIN {}", "SKU: {}", "EUR {}", '"sku":"{}"', "/p/{}", "?variant={}", "Art.-Nr. {}")),
    st.sampled_from((None, "DE", "US", "CH")),
)
def test_a_shops_own_numbers_are_left(number: str, form: str, country: str | None) -> None:
    text = form.format(number)
    assert [kind for kind in FINDERS if found(kind, text, country)] == []


# --- Any text ------------------------------------------------------------------------------------------------------
@in_any_time
@given(st.text(), st.sampled_from(sorted(FINDERS)))
def test_finds_are_in_order_and_do_not_overlap(text: str, kind: str) -> None:
    end = 0
    for one in FINDERS[kind](text, "DE"):
        assert isinstance(one, Found)
        assert end <= one.start < one.end <= len(text)
        end = one.end


@pytest.mark.parametrize(
    ("kind", "unit"),
    [
        *[
            ("email", unit)
            for unit in ("@", "a", "a@", "a@b.", "a@b.c%40", "%40", "&#64;", "\\u0040", "a%2B", "a'", "a.")
        ],
        *[
            ("phone", unit)
            for unit in ("1", "+1", "+4930", "+(1", "tel0", "tel:1 ", "tel+1", "1(", "tel", "+4930901820 ")
        ],
        *[("iban", unit) for unit in ("A", "1", "DE89", "AB12", "DE89 3704 ", "A1", "DE89-")],
        *[("card", unit) for unit in ("4", "4111", "4111 ", "4111-", "37 ", "3-", "4111 1111 1111 111")],
    ],
)
def test_a_hostile_text_takes_no_more_than_its_length(kind: str, unit: str) -> None:
    text = unit * (200_000 // len(unit))
    started = time.process_time()
    for _ in FINDERS[kind](text, "DE"):
        pass
    assert time.process_time() - started < 10  # a quadratic one would take minutes
