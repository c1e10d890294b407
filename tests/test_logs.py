"""What a worker writes while it runs: one format for whoever speaks, one event for each outcome."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import links
from tests.letters import Letters, product
from tests.servers.web import Page, WebServer
from tests.support import ROOT, Finished, Seine, events_in

Web = Callable[..., WebServer]
_LOUD = ("-s", "SPIDER_MODULES=tests.loud_spider", "-s", "REDIS_URL=")
_EVENT = re.compile(r"""log\.(?:info|warning|error|exception|critical)\(\s*"([^"]+)\"""")
_COLOR = re.compile("\x1b\\[[0-9;]+m")


@pytest.fixture
def loud(offline: Seine) -> Callable[..., Finished]:
    """A crawl in which everybody has something to say, by whatever way they have."""

    def crawl(**settings: Any) -> Finished:
        options = [part for name, value in settings.items() for part in ("-s", f"{name}={value}")]
        return offline.run("crawl", "loud_spider", *_LOUD, *options)

    return crawl


def test_whoever_speaks_comes_through_the_same_log_without_passwords(loud: Callable[..., Finished]) -> None:
    told = loud(KAFKA_SASL_PASSWORD="hunter2-hunter2")
    log = told.err.partition("\ncrawl loud: ")[0]
    assert [line for line in log.splitlines() if not line.startswith('{"')] == [], "all but the summary is JSON"
    said = {who: json.dumps([one for one in told.log if one["logger"] == who]) for who in _speakers(told)}
    assert "a warning" in said["py.warnings"]
    assert "Twisted's error" in said["twisted"]
    assert "a task's" in said["asyncio"]
    assert "a thread's" in said["seine.process"]
    assert "nobody's" in said["seine.process"]
    assert "a logger's" in said["somebody.else"]
    assert "hunter2" not in told.err
    assert told.err.count("***") >= 6
    [event] = told.events("crawl over")
    assert (event["ending"], event["reason"], event["pages"]) == ("failed", "finished", {})


def _speakers(told: Finished) -> set[str]:
    return {one["logger"] for one in told.log}


def test_an_exception_that_ends_the_program_is_in_the_log(loud: Callable[..., Finished], tmp_path: Path) -> None:
    """With a file for a log, the terminal says where to look."""
    ending = {"KAFKA_SASL_PASSWORD": "hunter2-hunter2", "STATS_CLASS": "tests.loud_spider.Broken"}
    told = loud(**ending)
    [event] = told.events("uncaught exception", level="critical")
    assert (told.code, "no stats: ***" in event["exception"]) == (1, True)
    log = tmp_path / "log.jsonl"
    told = loud(LOG_FILE=log, **ending)
    assert told.err.splitlines() == [f"seine: RuntimeError: no stats: ***: see {log}"]
    assert events_in(log.read_text())[-1]["event"] == "uncaught exception"


@pytest.mark.parametrize("level", ["warning", "WARNING"])
def test_a_level_is_a_level_in_any_case(loud: Callable[..., Finished], level: str) -> None:
    told = loud(LOG_LEVEL=level)
    assert {one["level"] for one in told.log} == {"warning", "error", "critical"}


@pytest.mark.parametrize(
    ("on_terminal", "style", "is_json", "is_colored"),
    [
        (True, "auto", False, True),
        (True, "json", True, False),
        (False, "auto", True, False),
        (False, "pretty", False, False),
    ],
)
def test_the_style_is_the_terminals_unless_it_is_set(
    offline: Seine, on_terminal: bool, style: str, is_json: bool, is_colored: bool
) -> None:
    text = _stderr(offline, on_terminal, LOG_STYLE=style)
    assert ('{"' in text, _COLOR.search(text) is not None) == (is_json, is_colored)
    assert ("\x1b" in text) == (on_terminal and not is_json), "the progress line is drawn beside text only"
    assert "a logger's" in text


def test_no_color_means_no_color(offline: Seine) -> None:
    text = _stderr(offline, True, NO_COLOR="1")
    assert ("a logger's" in text, _COLOR.search(text)) == (True, None)


def _stderr(seine: Seine, on_terminal: bool, **env: str) -> str:
    command = (sys.executable, "-m", "scrapy", "crawl", "loud_spider", *_LOUD)
    own = {**seine.env, "TERM": "xterm", **env}
    if not on_terminal:
        return subprocess.run(command, cwd=seine.root, env=own, capture_output=True, text=True).stderr
    ours, its = pty.openpty()
    with subprocess.Popen(command, cwd=seine.root, env=own, stdout=subprocess.DEVNULL, stderr=its) as process:
        os.close(its)
        text = b"".join(iter(lambda: _read(ours), b""))
        process.wait()
    os.close(ours)
    return text.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # its other end is closed
        return b""


# --- Events


def test_each_outcome_has_one_event_with_what_an_operator_looks_for(letters: Letters, web: Web) -> None:
    lamp, late = product("Lamp"), (lambda visits: product("Desk") if visits else Page("later", 503))
    server = web({"/": links("/lamp?to=a@b.example", "/late", "/none"), "/lamp?to=a@b.example": lamp, "/late": late})
    options = {"MASKING_PATTERNS": "email=mask", "WORKER_ID": "w1", "FRONTIER_CRAWL_ID": "monday"}

    told = letters.crawl(server, **options)

    found = told.events("request")
    ends = Counter((one["url"].removeprefix(server.url), one["attempt"], one["outcome"]) for one in found)
    assert ends == {
        ("/", 1, "expanded"): 1,
        ("/lamp?to=*email*", 1, "delivered"): 1,
        ("/late", 1, "retried"): 1,
        ("/late", 2, "delivered"): 1,
        ("/none", 1, "dead"): 1,
    }
    [event] = [one for one in found if one["url"].endswith("*email*")]
    assert event.pop("seconds") > 0
    assert event.pop("timestamp")
    assert event == {
        "event": "request",
        "logger": "seine.request",
        "level": "info",
        "url": f"{server.url}/lamp?to=*email*",
        "domain": server.domain,
        "site": "shop",
        "attempt": 1,
        "outcome": "delivered",
        "reason": "",
        "status": 200,
        "bytes": len(lamp.body),
        "items": 1,
        "links": 0,
        "crawl_id": "monday",
        "worker": "w1",
    }


def test_the_docs_name_every_event() -> None:
    """Whoever looks for an event in docs/logs.md finds it under the words that the log has."""
    told = (ROOT / "docs" / "logs.md").read_text()
    parts = ("crawlers", "pipelines", "middlewares", "browser_pool")
    sources = [path.read_text() for part in parts for path in (ROOT / part).rglob("*.py")]
    names = {name for source in sources for name in _EVENT.findall(source)}
    assert len(names) > 60
    assert sorted(name for name in names if f"`{name}`" not in told) == []
