"""A site's TOML: what is wrong in it is told by file, line and what is expected."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crawlers.exceptions import SiteError, UserError
from crawlers.site_config import load_site, load_sites
from crawlers.targets import read_targets

_START = 'name = "shop"\ndomains = ["shop.example"]\n'

_MISTAKES = {
    "a syntax error": ('name = "shop"\ndomains = [\n"a"\nlocale = 1\n', 4, ["not TOML"]),
    "an end in mid-list": ('name = "shop"\ndomains = [\n', 2, ["not TOML"]),
    "a key given twice": (_START + 'name = "shop"\n', 3, ["not TOML"]),
    "text for a list": ('name = "shop"\ndomains = "shop.example"\n', 2, ["domains", "expected a list", "got text"]),
    "a number in a list of texts": ('name = "shop"\ndomains = [3]\n', 2, ["domains", "expected text", "whole number"]),
    "text for a number": (_START + '[limits]\ndelay = "fast"\n', 4, ["limits.delay", "expected a number", "got text"]),
    "text for a truth": (_START + 'enabled = "yes"\n', 3, ["enabled", "expected true or false"]),
    "text for a table": (_START + 'product = "/p/"\n', 3, ["product", "expected a table"]),
    "a word that is none of the choices": (_START + 'identity = "ean"\n', 3, ["'ean'", "gtin, sku, url"]),
    "an unknown key": (_START + "# seed = []\nseed = []\n", 4, ["unknown key seed", "expected one of", "seeds"]),
    "an unknown key of a table": (_START + "[limits]\ndelya = 1\n", 4, ["unknown key limits.delya", "delay"]),
    "an unknown table": (_START + "[limits]\npages = 1\n[limit]\npages = 1\n", 5, ["unknown key limit,", "limits"]),
    "no name": ('domains = ["shop.example"]\n', None, ["name is missing", 'expected name = "shop"']),
    "no domains": ('name = "shop"\n', None, ["domains is missing", "expected domains ="]),
    "an empty file": ("", None, ["name is missing"]),
    "another file's name": (
        'name = "store"\ndomains = ["shop.example"]\n',
        1,
        ["'store'", "expected the file's stem 'shop'"],
    ),
    "an empty list of domains": ('name = "shop"\ndomains = []\n', 2, ["expected at least one domain"]),
    "a URL for a domain": (
        'name = "shop"\ndomains = [\n  "shop.example",\n  "http://b.example/",\n]\n',
        4,
        ["'http://b.example/'", "expected a host"],
    ),
    "a domain in capitals": ('name = "shop"\ndomains = ["Shop.example"]\n', 2, ["'Shop.example'", "lower case"]),
    "a seed that is no URL": (_START + 'seeds = ["shop.example"]\n', 3, ["'shop.example'", "expected an http"]),
    "a seed outside the domains": (
        _START + 'seeds = [\n  "http://shop.example/",\n  "http://other.example/",\n]\n',
        5,
        ["http://other.example/", "other.example is not in domains"],
    ),
    "a sitemap outside the domains": (
        _START + 'sitemaps = ["http://other.example/sitemap.xml"]\n',
        3,
        ["sitemaps", "other.example is not in domains"],
    ),
    "a broken pattern": (
        _START + '[product]\nallow = [\n  "/p/",\n  "(",\n]\n',
        6,
        ["product.allow", "'('", "expected a regular expression", "unterminated"],
    ),
    "a broken pattern with an escape": (
        _START + "[follow]\ndeny = ['[\\d']\n",
        4,
        ["follow.deny", "expected a regular expression"],
    ),
    "a delay below 0": (_START + "[limits]\ndelay = -1\n", 4, ["delay = -1", "at least 0"]),
    "a delay that is no number": (_START + "[limits]\ndelay = nan\n", 4, ["delay = nan", "at least 0"]),
    "no requests at once": (_START + "[limits]\nconcurrency = 0\n", 4, ["concurrency = 0", "at least 1"]),
    "no interval at all": (_START + "[changes]\nmax_interval = 60\n", 4, ["expected min_interval from 1"]),
    "intervals that cross": (
        _START + "[changes]\nmin_interval = 90\nmax_interval = 60\n",
        5,
        ["max_interval = 60", "expected min_interval from 1 to it, got 90"],
    ),
    "an interval below 0": (_START + "[changes]\nmax_interval = -1\n", 4, ["max_interval = -1", "at least 0"]),
    "a monitor that is none": (
        _START + '[monitors]\noff = ["prizes"]\n',
        4,
        ["'prizes'", "expected one of products, coverage, errors"],
    ),
    "an unknown key of the monitors": (
        _START + "[monitors]\nmin = 1\n",
        4,
        ["unknown key monitors.min", "min_products"],
    ),
    "a share above one": (
        _START + "[monitors]\nproducts_ratio = 70\n",
        4,
        ["products_ratio = 70", "share from 0 to 1"],
    ),
    "a share that is no number": (_START + "[monitors]\nerror_rise = nan\n", 4, ["error_rise = nan", "from 0 to 1"]),
    "a rise that is none": (_START + "[monitors]\nproducts_rise = 1\n", 4, ["products_rise = 1", "above 1"]),
    "fewer products than none": (_START + "[monitors]\nmin_products = -1\n", 4, ["min_products = -1", "from 0"]),
    "a history without a crawl": (_START + "[monitors]\nafter = 0\n", 4, ["after = 0", "from 1 to 10"]),
    "a history that is not kept": (_START + "[monitors]\nwindow = 31\n", 4, ["window = 31", "from 1 to 30"]),
    "a field that is not covered": (_START + '[monitors]\nfields = ["cost"]\n', 4, ["'cost'", "expected some of name"]),
    "a least coverage of no field": (
        _START + "[monitors]\nmin_coverage = { cost = 0.9 }\n",
        4,
        ["'cost'", "expected one of name"],
    ),
    "a least coverage that is none": (
        _START + '[monitors]\nmin_coverage = { price = "all" }\n',
        4,
        ["monitors.min_coverage", "expected a number", "got text"],
    ),
    "an unknown currency": (_START + 'currency = "DOLLAR"\n', 3, ["'DOLLAR'", "expected an ISO 4217 code"]),
    "a locale that is none": (_START + 'locale = "en_US!"\n', 3, ["'en_US!'", "expected a BCP 47 tag"]),
}


@pytest.mark.parametrize("mistake", _MISTAKES)
def test_a_mistake_is_told_by_file_line_and_what_is_expected(mistake: str, tmp_path: Path) -> None:
    text, line, parts = _MISTAKES[mistake]
    path = tmp_path / "shop.toml"
    path.write_text(text)

    with pytest.raises(SiteError) as caught:
        load_site(path)

    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_file_that_is_not_utf8_is_told_with_its_first_wrong_byte(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(SiteError, match="not UTF-8: byte 8"):
        load_site(path)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").mkdir()
    with pytest.raises(SiteError, match=r"shop\.toml: Is a directory"):
        load_sites(tmp_path)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text("\ufeff" + _START, encoding="utf-8")
    assert load_site(path).name == "shop"


def test_a_disabled_site_is_crawled_only_by_name(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(_START + "enabled = false\n")
    assert load_sites(tmp_path) == []
    assert [site.name for site in load_sites(tmp_path, ["shop"])] == ["shop"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sites": "shop,other"}, "unknown site 'other': .* has shop"),
        ({"sites": ","}, "-a sites=,: expected names of sites"),
        ({"urls": ","}, "-a urls=,: expected URLs"),
        ({"urls": ""}, "-a urls=: expected URLs"),
        ({"urls": "ftp://shop.example/"}, "-a urls=ftp://shop.example/: expected an http or https URL"),
        ({"urls": "http://shop.example/,/p/1"}, "-a urls=/p/1: expected an http or https URL"),
        ({"urls": "http://"}, "-a urls=http://: expected an http or https URL"),
        ({"urls": "http://shop.example:port/"}, "expected an http or https URL"),
        ({"urls": "http://[::1/"}, "expected an http or https URL"),
        ({"urls": "@no-such-file"}, "-a urls=@no-such-file: No such file or directory"),
        ({"urls": "http://shop.example/", "sites": "shop"}, "exclude each other"),
        ({"urls": "http://shop.example/", "follow": "maybe"}, "-a follow=maybe: expected 0 or 1"),
        ({"sites": "shop", "follow": "1"}, "-a follow= goes with -a urls="),
    ],
)
def test_wrong_arguments_are_told(arguments: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(_START)
    with pytest.raises(UserError, match=message):
        read_targets(str(tmp_path), **arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"http://shop.example/\n\n# a note\nshop.example\n", ":4: shop.example: expected an http or https URL"),
        (b"# nothing\n\n", ": no URL in it"),
        (b"http://shop.example/\xff\n", ": not UTF-8: byte 20"),
    ],
)
def test_a_wrong_file_of_urls_is_told_by_its_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_targets(str(tmp_path), urls=f"@{path}")
    assert str(caught.value).endswith(f"{path}{message}")


def test_a_file_of_urls_may_hold_notes_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.write_text(
        "\ufeffhttp://shop.example/1#top\r\n\r\n  # a note\r\n http://shop.example/2 \r\n", encoding="utf-8"
    )
    assert read_targets(str(tmp_path), urls=f"@{path}").urls == ("http://shop.example/1", "http://shop.example/2")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ('when = "sometimes"', "expected one of never, always"),
        ('wait = "#a"', "unknown key browser.wait, expected one of when"),
        ('actions = [{ click = "#a", scroll = 3 }]', "an action has click and scroll, expected exactly one of"),
        ('actions = [{ value = "x" }]', "an action has nothing to do"),
        ('capture = ["("]', "expected a regular expression"),
        ('block = ["ads"]', "expected one of images, fonts, media, trackers"),
    ],
)
def test_a_mistake_in_browser_rules_is_named(tmp_path: Path, rules: str, said: str) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(f'name = "shop"\ndomains = ["shop.example"]\n[browser]\n{rules}\n')
    with pytest.raises(SiteError, match=re.escape(said)):
        load_site(path)
