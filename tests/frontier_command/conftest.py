"""`scrapy frontier` as an operator uses it, on a real Redis and, where that tells more, on real crawls."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet import FrontierSeine
from tests.frontier_console import SITE, Console, Scene


@pytest.fixture
def frontier(
    fleet: FrontierSeine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, sites: Path
) -> Console:
    monkeypatch.setenv("SCRAPY_SETTINGS_MODULE", "crawlers.settings")
    (sites / "demo.toml").write_text(SITE)
    return Console(fleet.env, capsys)


@pytest.fixture
def scene(fleet: FrontierSeine) -> Scene:
    return Scene(fleet)
