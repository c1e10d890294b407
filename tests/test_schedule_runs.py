"""deploy/cron/run and crawl, as cron starts them: with an environment that has nothing but a PATH."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.polling import until
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.support import ROOT, Seine

CRON = ROOT / "deploy" / "cron"


class Schedule:
    """The runs of one schedule, in a folder of its own."""

    def __init__(self, folder: Path, name: str = "nightly"):
        self.name = name
        self.folder = folder
        # Where the interpreter of these tests is, scrapy is too.
        self.env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "SCHEDULE_DIR": str(folder)}

    def start(self, *command: str, wrapper: str = "run", **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [CRON / wrapper, self.name, *command],
            env={**self.env, **env},
            cwd="/",
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        Seine.started.append(process)
        return process

    def run(self, *command: str, wrapper: str = "run", **env: str) -> tuple[int, str]:
        """Its exit code, and what cron would send by mail."""
        process = self.start(*command, wrapper=wrapper, **env)
        out, err = process.communicate(timeout=90)
        return process.returncode, out + err

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics, by the rest of their names."""
        path = self.folder / "metrics" / f"seine_schedule_{self.name}.prom"
        samples = [sample for family in text_string_to_metric_families(path.read_text()) for sample in family.samples]
        assert {sample.labels["schedule"] for sample in samples} == {self.name}
        return {sample.name.removeprefix("seine_schedule_"): sample.value for sample in samples}

    @property
    def logs(self) -> list[Path]:
        return sorted((self.folder / "logs" / self.name).iterdir())

    def told(self) -> str:
        """What its runs have written."""
        return "".join(path.read_text() for path in sorted(self.folder.glob(f"logs/{self.name}/*.log")))


@pytest.fixture
def schedule(tmp_path: Path) -> Schedule:
    return Schedule(tmp_path / "schedules")


def test_a_run_leaves_its_output_in_a_log_and_its_end_in_metrics_and_says_nothing(schedule: Schedule) -> None:
    assert schedule.run("sh", "-c", "echo out; echo err >&2") == (0, "")
    [log] = schedule.logs
    assert log.read_text() == "out\nerr\n"
    metrics = schedule.metrics
    assert metrics["last_exit_code"] == 0
    assert metrics["skipped_total"] == 0
    assert metrics["last_start_timestamp_seconds"] <= metrics["last_success_timestamp_seconds"]
    assert metrics["last_success_timestamp_seconds"] == metrics["last_end_timestamp_seconds"]
    assert "next_run_timestamp_seconds" not in metrics


def test_a_failure_is_told_in_one_line_and_the_last_success_stays(schedule: Schedule) -> None:
    schedule.run("true")
    success = schedule.metrics["last_success_timestamp_seconds"]
    code, told = schedule.run("sh", "-c", "exit 3")
    assert code == 3
    assert told == f"seine: schedule nightly: exit code 3 after 0 s; its log: {schedule.logs[-1]}\n"
    assert schedule.metrics["last_exit_code"] == 3
    assert schedule.metrics["last_success_timestamp_seconds"] == success
    assert schedule.run("no-such-command")[0] == 127
    assert schedule.metrics["last_exit_code"] == 127


def test_a_run_that_is_due_while_the_last_one_is_at_work_is_skipped_and_counted(schedule: Schedule) -> None:
    first = schedule.start("sh", "-c", "echo begun; while :; do sleep 0.05; done")
    until(schedule.told, "it does not begin")
    assert schedule.run("true") == (0, "seine: schedule nightly: skipped, as its last run is at work\n")
    assert schedule.metrics["skipped_total"] == 1
    assert "last_end_timestamp_seconds" not in schedule.metrics
    assert Schedule(schedule.folder, "other").run("true") == (0, "")
    first.terminate()
    first.wait(30)
    assert schedule.run("true")[0] == 0
    assert schedule.metrics["skipped_total"] == 1


def test_a_command_that_outlives_its_wrapper_is_still_its_schedules(schedule: Schedule) -> None:
    first = schedule.start("sh", "-c", "echo $$; while :; do sleep 0.05; done")
    pid = int(until(schedule.told, "it does not begin"))
    first.kill()
    first.wait(30)
    assert "skipped" in schedule.run("true")[1]
    subprocess.run(["kill", "-KILL", str(pid)], check=True)
    until(lambda: schedule.run("true")[1] == "", "its lock is never free")


def test_a_run_that_takes_too_long_gets_one_sigterm_and_time_to_end(schedule: Schedule) -> None:
    drains = 'trap "echo asked; sleep 0.3; echo ended; exit 0" TERM; echo begun; while :; do sleep 0.05; done'
    code, _ = schedule.run("sh", "-c", drains, SCHEDULE_TIMEOUT="1")
    assert code == 124
    assert schedule.logs[0].read_text() == "begun\nasked\nended\n"
    assert schedule.metrics["last_exit_code"] == 124
    assert "last_success_timestamp_seconds" not in schedule.metrics


def test_a_run_that_does_not_end_then_is_killed(schedule: Schedule) -> None:
    stubborn = 'trap "" TERM; while :; do sleep 0.05; done'
    code, _ = schedule.run("sh", "-c", stubborn, SCHEDULE_TIMEOUT="1", SCHEDULE_GRACE="1")
    assert code == 137
    assert schedule.metrics["last_exit_code"] == 137


def test_sigterm_is_passed_on_and_the_end_awaited_which_is_no_success(schedule: Schedule) -> None:
    drains = 'trap "sleep 0.3; echo ended; exit 0" TERM; echo begun; while :; do sleep 0.05; done'
    process = schedule.start("sh", "-c", drains)
    until(schedule.told, "it does not begin")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert schedule.logs[0].read_text() == "begun\nended\n"
    assert schedule.metrics["last_exit_code"] == 0
    assert "last_success_timestamp_seconds" not in schedule.metrics


def test_so_many_logs_are_kept_or_none(schedule: Schedule) -> None:
    for number in range(4):
        schedule.run("echo", str(number), SCHEDULE_LOGS="2")
    assert len(schedule.logs) == 2
    assert schedule.logs[-1].read_text() == "3\n"
    assert schedule.run("echo", "here", SCHEDULE_LOG_DIR="-") == (0, "here\n")
    assert len(schedule.logs) == 2


def test_where_cron_alone_knows_the_schedule_its_interval_tells_when_it_is_due(schedule: Schedule) -> None:
    schedule.run("true", SCHEDULE_INTERVAL="3600")
    metrics = schedule.metrics
    assert metrics["next_run_timestamp_seconds"] - metrics["last_start_timestamp_seconds"] == 3600


@pytest.mark.parametrize("name", ["a/b", "", 'a"b', "../x"])
def test_a_name_that_is_no_label_or_file_is_refused(schedule: Schedule, name: str) -> None:
    schedule.name = name
    code, told = schedule.run("true")
    assert code == 2
    assert told == f"seine: schedule {name}: expected a name of letters, digits, - and _\n"


def test_a_command_line_without_a_command_is_refused(schedule: Schedule) -> None:
    assert schedule.run() == (2, "seine: usage: run NAME COMMAND [ARGUMENT...]\n")


def test_a_crawl_from_an_empty_environment_works_with_and_without_the_wrapper(
    schedule: Schedule, tmp_path: Path, web: Callable[..., WebServer]
) -> None:
    server = web({"/p": Page("<html>nothing")})
    out = tmp_path / "out.jsonl"
    arguments = ["product_spider", "-a", f"urls={server.url}/p", "-s", "ALLOWED_PRIVATE_NETWORKS=127.0.0.0/8"]
    plain = subprocess.run(
        ["env", "-i", f"PATH={schedule.env['PATH']}", "scrapy", "crawl", *arguments, "-O", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert plain.returncode == 0, plain.stderr[-2000:]
    assert schedule.run(*arguments, "-O", str(out), wrapper="crawl") == (0, "")
    assert [visit.path for visit in server.visits].count("/p") == 2
    assert "done (finished)" in schedule.logs[0].read_text()
    assert schedule.metrics["last_exit_code"] == 0


def test_a_crawl_that_others_are_at_counts_as_skipped_and_one_that_waits_for_ever_ends(
    schedule: Schedule, web: Callable[..., WebServer], redis_server: RedisServer, tmp_path: Path
) -> None:
    server = web({"/p": Page("<html>nothing")})
    server.may_answer.clear()
    env = {"REDIS_URL": redis_server.url, "FRONTIER_NAMESPACE": f"test-{tmp_path.name}", "FRONTIER_WAIT": "1"}
    env |= {"ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8", "CRAWL_OVERLAP": "skip", "CRAWL_OPEN": "0"}
    arguments = ["product_spider", "-a", f"urls={server.url}/p"]
    first = schedule.start(*arguments, wrapper="crawl", **env)
    until(lambda: server.visits, "nothing is fetched")
    other = Schedule(schedule.folder, "other-host")
    assert other.run(*arguments, wrapper="crawl", **env) == (0, "")
    assert other.metrics["skipped_total"] == 1
    assert "last_end_timestamp_seconds" not in other.metrics
    assert "seine: skipped: workers are at crawl" in other.logs[0].read_text()
    server.may_answer.set()
    assert first.wait(60) == 0
    assert schedule.metrics["last_exit_code"] == 0
