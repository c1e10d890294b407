"""python -m deploy.cron [CRONTAB]: runs a crontab's schedules where there is no cron, as in a container."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web
from scrapy.utils.project import get_project_settings

from crawlers import logs
from crawlers.exceptions import SeineError, UserError
from crawlers.status.listening import listen, read_ports
from crawlers.status.serving import address
from deploy.cron.crontab import Entry, local_zone, read_crontab
from deploy.cron.scheduler import Scheduler
from deploy.cron.status import status_app

log = structlog.get_logger("seine.cron")

_EXAMPLE = Path(__file__).with_name("crontab")


def main(argv: list[str] | None = None) -> int:
    """Exit code 0: it was told to stop. 1: it cannot work. 2: the crontab or a setting is wrong."""
    parser = argparse.ArgumentParser(prog="python -m deploy.cron", description="Runs a crontab's schedules.")
    parser.add_argument("crontab", type=Path, nargs="?", default=_EXAMPLE, help="the crontab (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="only read it, and say when each schedule is due next")
    options = parser.parse_args(argv)
    try:
        entries = read_crontab(options.crontab, _zone())
        if options.check:
            return _show(entries)
        settings = get_project_settings()
        logs.install(settings)
        since = datetime.fromtimestamp(options.crontab.stat().st_mtime, UTC)
        asyncio.run(_serve(entries, since, settings))
    except SeineError as error:
        print(f"seine: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _zone() -> Any:
    try:
        return local_zone(os.environ.get("TZ"))
    except ValueError as error:
        raise UserError(f"TZ={error}") from None


def _show(entries: list[Entry]) -> int:
    now = datetime.now(UTC)
    for entry in entries:
        due = entry.next_run(now)
        print(f"{entry.name:20} {due.astimezone(entry.zone):%a %Y-%m-%d %H:%M %Z}" if due else f"{entry.name:20} now")
    return 0


async def _serve(entries: list[Entry], since: datetime, settings: Any) -> None:
    scheduler = Scheduler(entries, since)
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, scheduler.stop)
    folder = Path(settings["SCHEDULE_METRICS_DIR"] or Path(settings["SCHEDULE_DIR"]) / "metrics")
    app = status_app(scheduler, folder, settings["STATUS_HOST"], settings["STATUS_TOKEN"])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        ports = read_ports(str(settings["STATUS_PORT"] or ""))
        if ports is not None and (listening := listen(settings["STATUS_HOST"], ports)) is not None:
            await web.SockSite(runner, listening).start()
            log.info("status served", url=address(listening))
        await scheduler.run()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    sys.exit(main())
