"""Rules become masked texts, URLs, items and pages; a wrong rule or key is told before a crawl starts."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st
from scrapy.settings import Settings

from crawlers.exceptions import InvalidItem, SiteError, UserError
from crawlers.items import Product
from crawlers.masking.keys import MaskingKeys, is_token
from crawlers.masking.masker import Masker
from crawlers.masking.masking import Masking
from crawlers.masking.rules import FieldRules, MaskingRules, PatternRules, fleet_rules
from crawlers.site_config import Site, load_site
from pipelines.validation import ValidationPipeline
from tests.test_validation import product

OLD, NEW = "k1:" + "o" * 32, "k2:" + "n" * 32
KEYS = MaskingKeys.read([NEW, OLD], "")
_ALL = PatternRules(email="mask", phone="mask", iban="mask", card="mask")
_TOKENS = PatternRules(email="tokenise", phone="tokenise", iban="tokenise", card="tokenise")
_TEXT = "jane@shop.example, +49 30 901820, DE89 3704 0044 0532 0130 00, 4111 1111 1111 1111"


def masker(
    patterns: PatternRules = _ALL, *, query: dict[str, Any] | None = None, country: str | None = None, **fields: Any
) -> Masker:
    return Masker(MaskingRules(patterns, FieldRules(**fields), query or {}), KEYS, country)


def settings(tmp_path: Path | None = None, **values: Any) -> Settings:
    return Settings({"SITES_DIR": str(tmp_path or "none"), **values})


# --- Texts ---------------------------------------------------------------------------------------------------------
def test_each_pattern_has_an_action_of_its_own() -> None:
    rules = PatternRules(email="tokenise", phone="mask", iban="drop", card="keep")
    address, phone, iban, card = masker(rules).text(_TEXT).split(", ")
    assert is_token(address)
    assert (phone, iban, card) == ("*phone*", "", "4111 1111 1111 1111")


def test_every_spelling_of_a_value_has_one_token() -> None:
    text = masker(_TOKENS, country="DE").text
    assert len({text(one) for one in ("+49 30 901820", "+4930901820", "+49 (30) 901820")}) == 1
    assert text("Tel. 030/901820").endswith(text("+49 30 901820"))
    assert text("Jane@Shop.Example") == text("jane&#64;shop.example")
    assert text("DE89370400440532013000") == text("DE89 3704 0044 0532 0130 00")
    assert text("4111-1111-1111-1111") == text("4111111111111111")
    assert text("jane@shop.example") != text("john@shop.example")


@pytest.mark.parametrize("patterns", [_ALL, _TOKENS])
@of_hypothesis(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                (*_TEXT.split(", "), "@", "+49", "tel:", "%40", "@a.com", "4111", "&#64;", "?email=", "&", "_")
            ),
            st.text(max_size=8),
        )
    ).map("".join)
)
@example("jane@shop.example¹DE89 3704 0044 0532 0130 00")
def test_masking_twice_is_masking_once(patterns: PatternRules, text: str) -> None:
    one = masker(patterns, query={"email": "tokenise"}, country="DE")
    once = one.text(text)
    assert one.text(once) == once
    address = one.url(f"https://shop.example/{text}")
    assert one.url(address) == address


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://a.de/?session=1&b=2", "https://a.de/?session=&b=2"),
        ('<a href="/?b=2&amp;session=1&amp;c=3">', '<a href="/?b=2&amp;session=&amp;c=3">'),
        ("next=https%3A%2F%2Fa.de%3Fsession%3D1%26b%3D2", "next=https%3A%2F%2Fa.de%3Fsession%3D%26b%3D2"),
        (r'"https:\/\/a.de\/?b=2\u0026session=1\u0026c"', r'"https:\/\/a.de\/?b=2\u0026session=\u0026c"'),
        ("https://a.de/?Session=1#top", "https://a.de/?Session=#top"),
        ("https://a.de/?user=Jane%20Doe", "https://a.de/?user=*user*"),
        ("https://a.de/?sessions=1&mysession=2", "https://a.de/?sessions=1&mysession=2"),
        ("session=1", "session=1"),
    ],
)
def test_parameters_of_urls_are_masked_by_name_wherever_a_url_stands(text: str, masked: str) -> None:
    assert masker(PatternRules(), query={"session": "drop", "user": "mask"}).text(text) == masked


# --- URLs ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://a.de/u/jane%40shop.example/p", "https://a.de/u/*email*/p"),
        ("https://a.de/?to=jane@shop.example&b=2", "https://a.de/?to=*email*&b=2"),
        ("https://a.de/?phone=%2B49%2030%20901820", "https://a.de/?phone=*phone*"),
        ("https://jane:secret@a.de/p", "https://a.de/p"),
        ("https://a.de/p/4111111111111111?v=4111111111111111", "https://a.de/p/4111111111111111?v=4111111111111111"),
        ("https://a.de/p/caf%C3%A9%20cr%C3%A8me", "https://a.de/p/caf%C3%A9%20cr%C3%A8me"),
        ("https://a.de/p/4006381333931", "https://a.de/p/4006381333931"),
    ],
)
def test_a_url_loses_what_is_personal_and_nothing_else(url: str, masked: str) -> None:
    assert masker().url(url) == masked


# --- Items ---------------------------------------------------------------------------------------------------------
def test_an_items_texts_are_masked_and_its_identifiers_are_not() -> None:
    item = product(
        name=f"Lamp {_TEXT}",
        brand="by jane@shop.example",
        description=_TEXT,
        breadcrumbs=["Home", "jane@shop.example"],
        images=["http://shop.example/i.png?by=jane@shop.example", "http://shop.example/logo@2x.png"],
        sku="4111111111111111",
        mpn="jane@shop.example",
        gtin="4006381333931",
        url="http://shop.example/p/1?by=jane@shop.example",
    )
    masker().item(item)
    assert item.name == "Lamp *email*, *phone*, *iban*, *card*"
    assert (item.brand, item.breadcrumbs) == ("by *email*", ["Home", "*email*"])
    assert item.images == ["http://shop.example/i.png?by=*email*", "http://shop.example/logo@2x.png"]
    assert item.url == "http://shop.example/p/1?by=*email*"
    assert (item.sku, item.mpn, item.gtin) == ("4111111111111111", "jane@shop.example", "4006381333931")


def test_a_fields_rule_goes_before_the_patterns() -> None:
    item = product(name=_TEXT, brand="Jane", description=_TEXT, mpn="jane@shop.example", breadcrumbs=["a", "b"])
    masker(name="keep", brand="tokenise", description="drop", mpn="patterns", breadcrumbs="mask").item(item)
    assert item.name == _TEXT
    assert is_token(item.brand or "")
    assert (item.description, item.mpn, item.breadcrumbs) == (None, "*email*", ["*breadcrumbs*"] * 2)


def test_without_a_value_there_is_no_token() -> None:
    item = product(brand=None, mpn="")
    masker(brand="tokenise", mpn="tokenise").item(item)
    assert (item.brand, item.mpn) == (None, "")


def test_an_identity_is_masked_as_what_it_was_taken_from() -> None:
    by_url = product(identity="http://shop.example/p/1?by=jane@shop.example", sku="1")
    by_sku = product(identity="Jane", sku="Jane")
    by_number = product(identity="4111111111111111", sku="4111111111111111")
    for item in (by_url, by_sku, by_number):
        masker(_TOKENS, sku="tokenise" if item is by_sku else None).item(item)
    assert re.fullmatch(r"http://shop\.example/p/1\?by=tok_k1_[a-p]{32}", by_url.identity)
    assert re.fullmatch("tok_k1_[a-p]{32}", by_sku.identity)
    assert by_number.identity == "4111111111111111"


def test_a_new_key_signs_new_tokens_and_changes_no_key_and_no_old_token() -> None:
    before, after = (Masker(MaskingRules(_TOKENS), MaskingKeys.read(keys, "")) for keys in ([OLD], [NEW, OLD]))
    item = before.item(product(identity="http://a.de/?by=jane@shop.example", name="jane@shop.example"))
    again = after.item(product(identity="http://a.de/?by=jane@shop.example", name="jane@shop.example"))
    assert again.identity == item.identity
    assert (item.name[:7], again.name[:7]) == ("tok_k1_", "tok_k2_")
    assert after.text(item.name) == item.name
    assert [keys.token("email", "jane@shop.example") for keys in KEYS.each()] == [again.name, item.name]
    url = "http://a.de/?by=jane@shop.example"
    assert after.url_spellings(url) == {url, before.url(url), after.url(url)}


def test_an_item_of_any_kind_is_masked_to_its_depths_and_what_cannot_be_leaves_its_hash() -> None:
    values = {
        "name": ["jane@shop.example", 4111111111111111],
        "availability": "ask jane@shop.example",
        "seller": {"jane@shop.example": ("+49 30 901820", b"jane@shop.example", b"\0\1")},
        "gtin": "4006381333931",
        "site": "shop",
        "record_id": "4111111111111111",
        "review_count": 3,
        "error": ValueError("jane@shop.example"),
    }
    masked = masker().mapping(values)
    assert masked["name"] == ["*email*", "*card*"]
    assert masked["availability"] == "ask *email*"
    [phone, text, binary] = masked["seller"]["*email*"]
    assert (phone, text) == ("*phone*", b"*email*")
    assert (binary["size"], len(binary["sha256"])) == (2, 64)
    assert masked["error"] == "ValueError('*email*')"
    assert {name: masked[name] for name in ("gtin", "site", "record_id", "review_count")} == {
        name: values[name] for name in ("gtin", "site", "record_id", "review_count")
    }


def test_a_message_shows_neither_half_an_address_nor_a_hidden_field() -> None:
    site = Site(name="shop", domains=("shop.example",), masking=MaskingRules(_ALL, FieldRules(brand="tokenise")))
    validation = ValidationPipeline(Masking(MaskingRules(), KEYS, [site]))
    with pytest.raises(InvalidItem) as raised:
        validation.process_item(product(language="x" * 45 + " jane@shop.example " + "x" * 60, brand="Jane" * 200))
    brand, language = raised.value.messages
    assert "what masking hides" in brand
    assert "jane" not in language
    assert "Jane" not in brand


# --- Pages ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "content_type", "masked"),
    [
        (b"<p>jane@shop.example</p>", "text/html", b"<p>*email*</p>"),
        (b"<p>jane@shop.example</p>", None, b"<p>*email*</p>"),
        (
            "<p>Ä jane@shop.example</p>".encode("latin-1"),
            "text/html; charset=latin-1",
            "<p>Ä *email*</p>".encode("latin-1"),
        ),
        ("<p>Ä jane@shop.example</p>".encode("utf-16"), "text/html", "<p>Ä *email*</p>".encode("utf-16")),
        (
            b'<meta charset="shift_jis">\x83\x5c jane@shop.example',
            "text/html",
            b'<meta charset="shift_jis">\x83\x5c *email*',
        ),
        (b"\xff\xfe is not UTF-8: jane@shop.example"[2:], "text/html", b" is not UTF-8: *email*"),
        (b"caf\xe9 jane@shop.example", "text/html", b"caf\xe9 *email*"),
        (b'{"mail":"jane\\u0040shop.example"}', "application/ld+json", b'{"mail":"*email*"}'),
        (b"<p>&#106;&#97;ne&#64;shop&#46;example</p>", "text/html", b"<p>*email*</p>"),
        (b"<p>m&#252;de</p>", "text/html", b"<p>m&#252;de</p>"),
        (b'<a data-cfemail="543e353a3114273c3b247a312c35392438">', "text/html", b'<a data-cfemail="*email*">'),
    ],
)
def test_a_page_is_masked_in_its_own_encoding(body: bytes, content_type: str | None, masked: bytes) -> None:
    assert masker().content(body, content_type) == (masked, None)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "image/png"),
        (b"jane@shop.example", "application/pdf"),
        (b"j\0a\0n\0e\0@\0", "text/html"),
        (b"jane@shop.example", "text/html; charset=utf-16"),
        (b"\x1f\x8b\x08\0\0", None),
    ],
)
def test_a_page_that_cannot_be_read_is_not_stored(body: bytes, content_type: str | None) -> None:
    assert masker().content(body, content_type) is None


def test_a_page_without_anything_personal_stays_the_same_bytes() -> None:
    body = b"<p>\xff\xfe 4006381333931</p>"
    assert masker().content(body, "text/html; charset=utf-8") == (body, None)


def test_a_page_is_not_stored_where_a_fields_rule_cannot_be_applied_to_it_unless_the_site_says_so() -> None:
    page = (b"<p>Jane, jane@shop.example</p>", "text/html")
    assert masker(brand="mask").content(*page) is None
    assert masker(content="drop").content(*page) is None
    assert masker(brand="mask", content="patterns").content(*page) == (b"<p>Jane, *email*</p>", None)
    assert masker(content="keep").content(*page) == (page[0], None)


def test_a_compressed_page_is_masked_too_and_left_as_it_is_where_nothing_is_found() -> None:
    personal, plain = gzip.compress(b"jane@shop.example"), gzip.compress(b"Jane")
    assert masker().content(personal, "text/html", "gzip") == (b"*email*", None)
    assert masker().content(plain, "text/html", "gzip") == (plain, "gzip")
    assert masker().content(plain[:-9], "text/html", "gzip") is None
    values = {"content": personal, "content_type": "text/html", "content_encoding": "gzip"}
    assert masker().mapping(values) == {"content": b"*email*", "content_type": "text/html", "content_encoding": None}
    assert masker(content="drop").mapping(values)["content"]["size"] == len(personal)


# --- Rules and keys ------------------------------------------------------------------------------------------------
def test_a_sites_rules_go_before_the_fleets_entry_by_entry(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(
        'name = "shop"\ndomains = ["shop.example"]\n[masking.patterns]\nphone = "keep"\ncard = "drop"\n'
        '[masking.fields]\nbrand = "mask"\n[masking.query]\nsession = "drop"\n'
    )
    given = settings(tmp_path, MASKING_PATTERNS="email=mask,phone=mask", MASKING_QUERY="user=mask")
    masking = Masking.from_settings(given)
    of_shop, of_stranger = masking.of_site("shop"), masking.of_site("stranger.example")
    assert of_shop is not None
    assert of_stranger is not None
    assert of_shop.text(_TEXT) == "*email*, +49 30 901820, DE89 3704 0044 0532 0130 00, "
    assert of_stranger.text(_TEXT).startswith("*email*, *phone*, DE89")
    assert of_shop.url("http://shop.example/?user=a&session=b") == "http://shop.example/?user=*user*&session="
    assert of_shop.item(product(brand="Jane")).brand == "*brand*"
    assert masking.of_logs is not None
    assert masking.of_logs.text(_TEXT + " /?session=b").startswith(
        "*email*, *phone*, DE89 3704 0044 0532 0130 00,  /?session="
    )


def test_without_rules_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text('name = "shop"\ndomains = ["shop.example"]\n[masking.fields]\nname = "keep"\n')
    masking = Masking.from_settings(settings(tmp_path, MASKING_PATTERNS="email=keep"))
    assert (masking.is_active, masking.of_site("shop"), masking.of_logs) == (False, None, None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"MASKING_PATTERNS": "email"}, "MASKING_PATTERNS=email: expected name=action, comma separated"),
        ({"MASKING_PATTERNS": "mail=mask"}, "unknown mail, expected one of email, phone, iban, card"),
        ({"MASKING_PATTERNS": "email=hide"}, "email=hide: expected one of keep, mask, drop, tokenise"),
        ({"MASKING_FIELDS": "name=drop"}, "name=drop: expected one of keep, patterns, mask, tokenise"),
        ({"MASKING_FIELDS": "price=mask"}, "unknown price, expected one of name, brand"),
        ({"MASKING_QUERY": "a=b"}, "a=b: expected one of keep, mask, drop, tokenise"),
        ({"MASKING_PATTERNS": "email=tokenise"}, "tokenise needs a key. Set MASKING_KEYS_FILE"),
        ({"MASKING_KEYS": "k1:tooshort"}, "MASKING_KEYS: key 1: expected id:secret"),
        ({"MASKING_KEYS": f"{OLD},K2:{'n' * 32}"}, "MASKING_KEYS: key 2: expected id:secret"),
        ({"MASKING_KEYS": f"{OLD},{OLD}"}, "MASKING_KEYS: key 2: a second key k1, expected another id"),
        ({"MASKING_KEYS_FILE": "/no/such/file"}, "MASKING_KEYS_FILE=/no/such/file: No such file or directory"),
    ],
)
def test_a_wrong_rule_or_key_is_told_without_a_secret(values: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Masking.from_settings(settings(**values), ())
    assert message in str(caught.value)
    assert "o" * 8 not in str(caught.value)
    assert "tooshort" not in str(caught.value)


def test_keys_come_from_a_file_with_notes_and_are_in_no_representation(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# newest first\n{NEW}\n\n{OLD}\n")
    keys = MaskingKeys.of(Settings({"MASKING_KEYS_FILE": str(path)}))
    assert keys == KEYS
    assert "nnn" not in repr(keys)
    path.write_text(f"{NEW}\nbroken\n")
    with pytest.raises(UserError, match=r"keys: line 2: expected id:secret"):
        MaskingKeys.of(Settings({"MASKING_KEYS_FILE": str(path)}))


@pytest.mark.parametrize("action", ["mask", "drop"])
def test_an_identity_that_would_be_the_same_for_all_is_refused(action: Any) -> None:
    site = Site(
        name="shop", domains=("shop.example",), identity="sku", masking=MaskingRules(fields=FieldRules(sku=action))
    )
    with pytest.raises(UserError, match=r"site shop: sku is its identity.*Expected tokenise"):
        Masking(MaskingRules(), KEYS, [site])


@pytest.mark.parametrize(
    ("text", "line", "parts"),
    [
        ('[masking.patterns]\nmail = "mask"', 4, ["unknown key masking.patterns.mail", "email, phone, iban, card"]),
        ('[masking.patterns]\nemail = "hide"', 4, ["masking.patterns.email", "'hide'", "keep, mask, drop, tokenise"]),
        ('[masking]\npatterns = { email = "hide" }', 4, ["masking.patterns.email", "'hide'"]),
        ('[masking.fields]\nname = "drop"', 4, ["masking.fields.name", "keep, patterns, mask, tokenise"]),
        ('[masking.fields]\nimages = "mask"', 4, ["masking.fields.images", "keep, patterns, drop"]),
        ("[masking.fields]\nurl = 1", 4, ["masking.fields.url", "expected text"]),
        ('[masking.query]\nsession = "none"', 3, ["masking.query", "'none'", "keep, mask, drop, tokenise"]),
        ("[masking]\nrules = 1", 4, ["unknown key masking.rules", "patterns, fields, query"]),
        ("masking = true", 3, ["masking", "expected a table"]),
    ],
)
def test_a_mistake_in_a_sites_table_is_told_by_file_and_line(
    text: str, line: int, parts: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(f'name = "shop"\ndomains = ["shop.example"]\n{text}\n')
    with pytest.raises(SiteError) as caught:
        load_site(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    for part in parts:
        assert part in str(caught.value)


def test_every_text_of_an_item_has_a_rule_or_none_on_purpose() -> None:
    """A field that is added to the item must be given a place here."""
    untouched = {"price", "currency", "availability", "condition", "rating", "review_count", "language", "identity"}
    as_content = {"screenshot"}  # what a picture shows cannot be masked: see pipelines/masking.py
    from crawlers.masking.masker import _OURS

    assert set(Product.__dataclass_fields__) - set(FieldRules.__struct_fields__) - _OURS == untouched | as_content


def test_the_fleets_rules_are_read_from_lists() -> None:
    rules = fleet_rules(
        Settings({"MASKING_PATTERNS": ["email=mask", " phone = drop "], "MASKING_FIELDS": "brand=keep"})
    )
    assert rules == MaskingRules(PatternRules(email="mask", phone="drop"), FieldRules(brand="keep"))
