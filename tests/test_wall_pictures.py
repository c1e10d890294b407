"""CAPTCHAs end as dead letters with a picture: of the open page, or drawn from what plain HTTP got, asking nobody."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crawlers.frontier.request_json import from_json
from pipelines.claims.resolver import Resolver
from tests.browsers import short_folder
from tests.letters import Letters
from tests.servers.web import Page, WebServer
from tests.support import Consumed, Finished

Web = Callable[..., WebServer]
PNG = b"\x89PNG\r\n"
PARTS = '<link rel=stylesheet href="/a.css"><script src="/a.js"></script><img src="/a.png"><iframe src="/a"></iframe>'
CAPTCHA = Page(f"<title>Are you a robot?</title>{PARTS}<div class=g-recaptcha>Prove it</div>", 403)


class Walled:
    """Crawls of a site whose page is a CAPTCHA, and their letters."""

    def __init__(self, letters: Letters, server: WebServer, folder: Path, store: Path):
        self.letters = letters
        self.server = server
        self.url = f"{server.url}/wall"
        self.store = f"file://{store}"
        store.mkdir()
        letters.seine.env |= {"CLAIM_CHECK_URL": self.store}
        self._browser_folder = folder

    def crawl(self, when: str, **settings: Any) -> Finished:
        (self.letters.seine.folder / "sites" / "walled.toml").write_text(
            f'name = "walled"\ndomains = ["{self.server.domain}"]\nseeds = ["{self.url}"]\n'
            f'[limits]\ndelay = 0\n[browser]\nwhen = "{when}"\n'
        )
        own = {"ROBOTSTXT_OBEY": 0, "RETRY_TIMES": 1, "RETRY_BACKOFF_SECONDS": 0.01, "KAFKA_CREATE_TOPICS": 1}
        return self.letters.seine.crawl("-a", "sites=walled", **own, BROWSER_TMP_DIR=self._browser_folder, **settings)

    def letter(self) -> Consumed:
        """The only one."""
        [found] = self.letters.read()
        assert (found.headers["error"], found.headers["url"]) == ("captcha", self.url)
        return found

    def picture(self, letter: Consumed) -> bytes:
        """What the letter refers to."""
        claim = letter.value["screenshot"]
        assert (claim["uri"], claim["content_type"]) == (letter.headers["screenshot"], "image/png")
        return Resolver([self.store]).resolve(claim)


@pytest.fixture
def walled(letters: Letters, web: Web, tmp_path: Path) -> Iterator[Walled]:
    with short_folder() as folder:
        yield Walled(letters, web({"/wall": CAPTCHA}), folder, tmp_path / "claims")
        assert not os.listdir(folder)


def test_the_letter_of_a_captcha_in_the_browser_refers_to_its_picture(walled: Walled) -> None:
    ended = walled.crawl("always")
    assert ended.code == 1, ended.err[-3000:]
    assert len(walled.server.visits_of("/wall")) == 2, "once for each attempt"
    letter = walled.letter()
    assert walled.picture(letter).startswith(PNG)
    assert letter.headers["attempt"] == "2"

    sha256, seine = letter.value["screenshot"]["sha256"], walled.letters.seine
    shown = seine.run("dlq", "show", letter.headers["letter_id"])
    assert f"scrapyclaimsget{sha256}-owall.png" in "".join(shown.out.split())
    assert letter.headers["screenshot"] in seine.run("dlq", "list", "--json").out
    verified = seine.run("claims", "verify")
    assert (verified.code, "1 claims" in verified.out, "1 good" in verified.out) == (0, True, True), verified.out
    blob = Path(letter.headers["screenshot"].removeprefix("file://"))
    os.utime(blob, (1, 1))
    collected = seine.run("claims", "gc", "--yes")
    assert "referred   1 of them" in collected.out, collected.out + collected.err
    assert blob.exists()


def test_a_captcha_by_plain_http_is_drawn_without_another_request(walled: Walled) -> None:
    ended = walled.crawl("auto")
    assert ended.code == 1, ended.err[-3000:]
    assert [visit.path for visit in walled.server.visits] == ["/wall", "/wall"], "and none of its parts"
    assert walled.picture(walled.letter()).startswith(PNG)


def test_it_is_committed_with_its_request_where_delivery_is_exactly_once(walled: Walled) -> None:
    ledger = f"{walled.letters.topic}.ledger"
    ended = walled.crawl("always", KAFKA_DELIVERY="exactly_once", KAFKA_TOPIC_LEDGER=ledger, KAFKA_SLOTS=2)
    assert ended.code == 1, ended.err[-3000:]
    [letter] = walled.letters.read(committed=True)
    assert walled.picture(letter).startswith(PNG)


def test_where_no_site_uses_the_browser_the_letter_has_no_picture(walled: Walled) -> None:
    walled.crawl("never", BROWSER_EXECUTABLE="/bin/false")
    letter = walled.letter()
    assert "screenshot" not in letter.headers
    assert "screenshot" not in letter.value


@pytest.mark.parametrize("settings", [{"CLAIM_CHECK_URL": ""}, {"MASKING_PATTERNS": "email=mask"}])
def test_without_a_store_and_where_a_rule_masks_there_is_no_picture(walled: Walled, settings: dict[str, str]) -> None:
    ended = walled.crawl("auto", **settings)
    assert "screenshot" not in walled.letter().headers
    assert not ended.events("wall not drawn")


def test_a_forgotten_products_letter_takes_its_picture_along(walled: Walled) -> None:
    """The page was a product once, and shows a CAPTCHA since."""
    data = json.dumps({"@type": "Product", "name": "Tent"})
    walled.server.pages["/wall"] = Page(f'<h1>Tent</h1><script type="application/ld+json">{data}</script>')
    assert walled.crawl("always").code == 0
    walled.server.pages["/wall"] = CAPTCHA
    walled.crawl("always", FRONTIER_CRAWL_ID="later")
    blob = Path(walled.letter().headers["screenshot"].removeprefix("file://"))
    os.utime(blob, (1, 1))
    assert blob.exists()
    forgotten = walled.letters.seine.run("records", "forget", f"walled/{walled.url}", "--yes")
    assert "deleted    1 claim" in forgotten.out, forgotten.out + forgotten.err
    assert not blob.exists()


def test_a_letters_picture_is_no_part_of_its_request() -> None:
    request = {"url": "http://a.test/", "meta": {"depth": 1}}
    letter = {**request, "screenshot": {"uri": "file:///claims/x", "sha256": "x", "size": 1}}
    assert from_json(json.dumps(letter).encode()) == from_json(json.dumps(request).encode())
