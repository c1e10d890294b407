"""python -m deploy.cron: an ordinary crontab, run where there is no cron."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from prometheus_client.parser import text_string_to_metric_families

from crawlers.exceptions import UserError
from deploy.cron.crontab import Entry, local_zone, read_crontab
from deploy.cron.scheduler import Scheduler
from tests.polling import until
from tests.servers.ports import free_port
from tests.support import ROOT, Seine

BERLIN = ZoneInfo("Europe/Berlin")
ANCIENT = datetime(2000, 1, 1, tzinfo=UTC)


def entries(tmp_path: Path, text: str) -> list[Entry]:
    path = tmp_path / "crontab"
    path.write_text(text)
    return read_crontab(path, UTC)


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def runs(entry: Entry, start: datetime, count: int) -> list[str]:
    found: list[str] = []
    moment: datetime | None = start
    while len(found) < count:
        assert moment is not None
        moment = entry.next_run(moment)
        assert moment is not None
        found.append(moment.astimezone(entry.zone).isoformat(timespec="minutes"))
    return found


# --- The crontab


def test_lines_are_read_as_cron_reads_them(tmp_path: Path) -> None:
    first, second, third = entries(
        tmp_path,
        "# a comment\n\nSHARED = yes\n0 2 * * *  deploy/cron/crawl nightly product_spider -a sites=demo\n"
        'CRON_TZ="America/New_York"\nSCHEDULE_TIMEOUT=60\n'
        "30 3 1,15 jan-mar mon NAME=x /opt/seine/deploy/cron/run dated date +\\%F >/dev/null 2>&1\n"
        "@hourly deploy/cron/crawl hourly\n",
    )
    assert (first.name, first.when, first.environment) == ("nightly", "0 2 * * *", {"SHARED": "yes"})
    assert first.command == "deploy/cron/crawl nightly product_spider -a sites=demo"
    assert first.zone is UTC
    assert second.command == "NAME=x /opt/seine/deploy/cron/run dated date +%F >/dev/null 2>&1"
    assert second.environment["SCHEDULE_TIMEOUT"] == "60"
    assert second.zone == ZoneInfo("America/New_York")
    assert (third.name, third.when) == ("hourly", "0 * * * *")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 2 * * deploy/cron/crawl nightly", "0 2 * * deploy/cron/crawl: bad day-of-week: expected minute hour"),
        ("@daily", "expected minute hour day-of-month month day-of-week"),
        ("60 2 * * * deploy/cron/crawl nightly", "60 2 * * *: bad minute"),
        ("0 2 30 feb * deploy/cron/crawl nightly", "0 2 30 feb *: bad day-of-month"),
        ("@sometimes deploy/cron/crawl nightly", "@sometimes: wrong number of fields"),
        ("0 2 * * * scrapy crawl product_spider", "expected deploy/cron/crawl NAME, or deploy/cron/run NAME before"),
        ("0 2 * * * deploy/cron/crawl", "expected deploy/cron/crawl NAME"),
        ("0 2 * * * deploy/cron/crawl a/b", "schedule a/b: expected a name of letters"),
        ("0 2 * * * cd /opt && deploy/cron/crawl nightly", "expected one command"),
        ("0 2 * * * deploy/cron/run dated date +%F", r"write \% for a percent sign"),
        ("0 2 * * * deploy/cron/crawl 'nightly", "No closing quotation"),
        ("CRON_TZ=Europe/Atlantis\n0 2 * * * deploy/cron/crawl nightly", "Europe/Atlantis: expected a time zone"),
        ("@daily deploy/cron/crawl one\n@daily deploy/cron/crawl one", "a second schedule one"),
    ],
)
def test_a_mistake_is_told_in_one_line_that_names_it(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        entries(tmp_path, line)
    number = line.count("\n") + 1
    assert str(caught.value).startswith(f"{tmp_path}/crontab:{number}: {message}")
    assert "\n" not in str(caught.value)


def test_the_command_refuses_a_wrong_crontab_one_without_schedules_and_one_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "crontab"
    for text, message in (
        ("61 * * * * x\n", "bad minute"),
        ("# none\n", "no schedule in it"),
        (None, "cannot be read"),
    ):
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cron", str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_example_is_a_crontab() -> None:
    [nightly] = read_crontab(ROOT / "deploy" / "cron" / "crontab", UTC)
    assert nightly.name == "nightly"
    assert nightly.zone == BERLIN


# --- Time zones


def test_a_nightly_run_happens_once_when_clocks_are_set_forward_and_back(tmp_path: Path) -> None:
    [entry] = entries(tmp_path, "CRON_TZ=Europe/Berlin\n30 2 * * * deploy/cron/crawl nightly\n")
    assert runs(entry, at("2026-03-28T00:00"), 3) == [
        "2026-03-28T02:30+01:00",
        "2026-03-29T03:00+02:00",  # there is no half past two: as soon as the missing hour is over
        "2026-03-30T02:30+02:00",
    ]
    assert runs(entry, at("2026-10-24T12:00"), 2) == ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]


def test_a_run_of_every_hour_happens_every_hour_whatever_clocks_say(tmp_path: Path) -> None:
    [entry] = entries(tmp_path, "CRON_TZ=Europe/Berlin\n0 * * * * deploy/cron/crawl hourly\n")
    assert runs(entry, at("2026-10-25T01:30"), 3) == [
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:00+01:00",
        "2026-10-25T03:00+01:00",
    ]
    assert runs(entry, at("2026-03-29T01:30"), 2) == ["2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00"]


def test_the_last_run_that_was_due_is_known_too(tmp_path: Path) -> None:
    [entry] = entries(tmp_path, "CRON_TZ=Europe/Berlin\n30 2 * * * deploy/cron/crawl nightly\n")
    assert entry.previous_run(at("2026-07-02T02:00")) == at("2026-07-01T02:30")


def test_tz_is_the_zone_where_the_crontab_names_none() -> None:
    assert local_zone("Asia/Tokyo") == ZoneInfo("Asia/Tokyo")
    assert local_zone(":UTC") == ZoneInfo("UTC")
    assert local_zone(None).utcoffset(datetime(2026, 1, 1)) is not None
    with pytest.raises(ValueError, match="expected a time zone"):
        local_zone("Mars/Olympus")


# --- What is due


class Clock:
    """A clock that is set."""

    def __init__(self, now: datetime):
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    """A command that cron could start, which ends at once."""
    script = tmp_path / "run"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    return script


def test_what_is_due_is_started_once_however_late_it_is_looked_at(tmp_path: Path, marked: Path) -> None:
    clock = Clock(datetime(2026, 5, 1, 1, 59, tzinfo=UTC))

    async def looks() -> list[list[str]]:
        table = entries(tmp_path, f"0 2 * * * {marked} nightly\n0 * * * * {marked} hourly\n")
        scheduler = Scheduler(table, ANCIENT, clock)
        found = [scheduler.look()]
        for minutes in (1, 0, 5 * 60, 20 * 60):
            clock.now += timedelta(minutes=minutes)
            found.append(scheduler.look())
        assert scheduler.planned[0].previous == datetime(2026, 5, 2, 2, tzinfo=UTC)
        assert scheduler.planned[0].next == datetime(2026, 5, 3, 2, tzinfo=UTC)
        scheduler.stop()
        await scheduler.run()
        return found

    both = ["nightly", "hourly"]
    assert asyncio.run(looks()) == [[], both, [], ["hourly"], both]


def test_a_clock_that_is_set_back_runs_nothing_twice_but_after_hours_is_believed(tmp_path: Path, marked: Path) -> None:
    start = datetime(2026, 5, 1, 1, 59, tzinfo=UTC)
    clock = Clock(start)

    async def looks() -> list[list[str]]:
        scheduler = Scheduler(entries(tmp_path, f"0 2 * * * {marked} nightly\n"), ANCIENT, clock)
        found = []
        for now in (start + timedelta(minutes=1), start, start + timedelta(minutes=2), start - timedelta(days=3)):
            clock.now = now
            found.append(scheduler.look())
        assert scheduler.planned[0].next == datetime(2026, 4, 28, 2, tzinfo=UTC)
        scheduler.stop()
        await scheduler.run()
        return found

    assert asyncio.run(looks()) == [["nightly"], [], [], []]


def test_what_was_due_before_the_crontab_was_written_was_not_missed(tmp_path: Path, marked: Path) -> None:
    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    table = entries(tmp_path, f"0 2 * * * {marked} nightly\n")

    async def previous(since: datetime) -> datetime | None:
        return Scheduler(table, since, Clock(now)).planned[0].previous

    assert asyncio.run(previous(now - timedelta(hours=1))) is None
    assert asyncio.run(previous(now - timedelta(hours=11))) == datetime(2026, 5, 1, 2, tzinfo=UTC)


# --- The service


class Service:
    """python -m deploy.cron with a crontab, as a container runs it."""

    def __init__(self, folder: Path, crontab: str, **env: str):
        (folder / "crontab").write_text(crontab)
        self.port = free_port()
        self.folder = folder / "schedules"
        own = {"STATUS_PORT": str(self.port), "STATUS_HOST": "127.0.0.1", "SCHEDULE_DIR": str(self.folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cron", str(folder / "crontab")],
            cwd=ROOT,
            env={**os.environ, **own, **env},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        Seine.started.append(self.process)

    def get(self, path: str, **headers: str) -> str:
        """The body, or '' where nobody listens yet."""
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
            with urllib.request.urlopen(request, timeout=10) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert self.process.poll() is None, self.process.communicate()
            return ""

    def metrics(self) -> dict[tuple[str, str], float]:
        """Of each schedule, by the rest of their names."""
        found = {}
        for family in text_string_to_metric_families(self.get("/metrics")):
            assert family.documentation
            for sample in family.samples:
                name = sample.name.removeprefix("seine_schedule_")
                assert (sample.labels["schedule"], name) not in found
                found[sample.labels["schedule"], name] = sample.value
        return found

    def log(self, name: str) -> str:
        return "".join(path.read_text() for path in self.folder.glob(f"logs/{name}/*.log"))


def test_runs_are_started_and_told_in_metrics_and_sigterm_waits_for_what_they_have_to_finish(tmp_path: Path) -> None:
    drains = (
        "'trap \"sleep 0.5; echo ended; exit 0\" TERM; echo begun $ASKED $STATUS_PORT; while :; do sleep 0.1; done'"
    )
    service = Service(
        tmp_path,
        f"ASKED=nicely\n@reboot deploy/cron/run long sh -c {drains}\n"
        "@reboot deploy/cron/run broken false\n0 2 * * * deploy/cron/crawl nightly\n",
    )
    assert until(lambda: service.get("/healthz"), "it does not listen") == "ok\n"
    assert service.get("/readyz") == "ok\n"
    until(lambda: service.log("long"), "nothing runs")
    metrics = until(lambda: (m := service.metrics()).get(("broken", "last_exit_code")) and m, "no end is told")
    assert metrics["broken", "last_exit_code"] == 1
    assert metrics["long", "last_start_timestamp_seconds"] > 0
    assert ("long", "last_exit_code") not in metrics
    due = datetime.fromtimestamp(metrics["nightly", "next_run_timestamp_seconds"], UTC)
    assert timedelta(0) < due - datetime.now(UTC) <= timedelta(days=1)
    assert (due.hour, due.minute) == (2, 0)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0
    assert service.log("long") == "begun nicely 9411-9459\nended\n"


def test_a_token_is_asked_for_by_metrics_alone(tmp_path: Path) -> None:
    service = Service(tmp_path, "0 2 * * * deploy/cron/crawl nightly\n", STATUS_TOKEN="secret")
    assert until(lambda: service.get("/healthz"), "it does not listen") == "ok\n"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        service.get("/metrics")
    assert "next_run" in service.get("/metrics", Authorization="Bearer secret")


def test_a_taken_port_is_told_in_one_line(tmp_path: Path) -> None:
    first = Service(tmp_path, "0 2 * * * deploy/cron/crawl nightly\n")
    until(lambda: first.get("/healthz"), "it does not listen")
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cron"],
        cwd=ROOT,
        env={**os.environ, "STATUS_PORT": str(first.port)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"seine: STATUS_PORT={first.port}: taken")
    assert "Traceback" not in done.stderr
