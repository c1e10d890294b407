"""docs/privacy.md's figures are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scrapy.utils.project import get_project_settings

from crawlers.masking.keys import MaskingKeys
from crawlers.masking.patterns import FINDERS
from crawlers.masking.rules import FIELD_DEFAULTS
from pipelines.topics import contract_topics
from tests.support import ROOT

_TEXT = (Path(ROOT) / "docs" / "privacy.md").read_text("utf-8")
_UNITS = {"hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}
_MATTERS = re.compile(r".*retention\.ms|.*compaction\.lag\.ms|segment\.ms")


def _rows() -> list[tuple[str, str, str, str]]:
    """(topic, setting, value, what it says) of the table of settings."""
    return re.findall(r"^\| ([\w.]+) \| ([\w.]+\.ms) \| (\d+) \| ([^|:]+)", _TEXT, re.MULTILINE)


def test_the_table_has_every_time_of_every_topic_that_holds_products() -> None:
    settings = get_project_settings()
    topics = {settings[f"KAFKA_TOPIC_{name}"] for name in ("PRODUCTS", "DEAD_LETTERS", "PAGES")}
    times = {
        (topic, name, value)
        for topic, config in contract_topics(settings).items()
        for name, value in config.items()
        if topic in topics and _MATTERS.fullmatch(name)
    }
    assert {row[:3] for row in _rows()} == times


@pytest.mark.parametrize("row", _rows())
def test_a_time_in_words_is_its_value(row: tuple[str, str, str, str]) -> None:
    number, unit = row[3].split()
    assert int(number) * _UNITS[unit.rstrip("s")] == int(row[2])


@pytest.mark.parametrize("name", ["FRONTIER_OUTCOME_SECONDS", "FRONTIER_KEEP_SECONDS"])
def test_a_default_is_the_settings(name: str) -> None:
    [told] = re.findall(rf"`{name}` \((\d+)\)", _TEXT)
    assert int(told) == get_project_settings().getint(name)


def test_every_pattern_and_field_is_told() -> None:
    for name in (*FINDERS, *FIELD_DEFAULTS.keys() - {"content"}):
        assert f"`{name}`" in _TEXT


def test_a_key_made_as_the_docs_say_is_a_key() -> None:
    assert "openssl rand -hex 32" in _TEXT
    assert MaskingKeys.read([f"k1:{bytes(32).hex()}"], "")
