"""Reads a crontab as cron does: five fields or @daily and the like, names and values, CRON_TZ, \\% for %."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from crawlers.exceptions import UserError

REBOOT = "@reboot"
_SHORT = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
    REBOOT: REBOOT,
}
_FIELDS = "minute hour day-of-month month day-of-week, or @daily and the like"
_ASSIGNMENT = re.compile(r"""([A-Za-z_]\w*)\s*=\s*(?:"([^"]*)"|'([^']*)'|(.*?))\s*""")
_WRAPPERS = ("/crawl", "/run")
_JOINTS = {";", "&", "&&", "|", "||", "(", ")", "`"}
_LOCALTIME = Path("/etc/localtime")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a crontab."""

    name: str
    when: str
    """Five fields, or @reboot: once, when the scheduler starts."""
    command: str
    """For a shell."""
    zone: tzinfo
    environment: dict[str, str] = field(default_factory=dict)

    def next_run(self, after: datetime) -> datetime | None:
        """The first moment after `after` that it is due; None where there is none."""
        return self._first(after, reverse=False)

    def previous_run(self, before: datetime) -> datetime | None:
        """The last moment before `before` that it was due."""
        return self._first(before, reverse=True)

    def _first(self, moment: datetime, *, reverse: bool) -> datetime | None:
        if self.when == REBOOT:
            return None
        found = next(CronSim(self.when, moment.astimezone(self.zone), reverse=reverse), None)
        return found and found.astimezone(UTC)


def read_crontab(path: Path, zone: tzinfo) -> list[Entry]:
    """Its entries; times are those of CRON_TZ above a line, else of `zone`. Raises UserError, which names the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UserError(f"{path}: cannot be read: {why}") from None
    entries: list[Entry] = []
    environment: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        try:
            if assigned := _ASSIGNMENT.fullmatch(line):
                environment[assigned[1]] = next((part for part in assigned.groups()[1:] if part is not None), "")
            else:
                entries.append(_entry(line, environment, zone))
        except ValueError as error:
            raise UserError(f"{path}:{number}: {error}") from None
        if len({entry.name for entry in entries}) < len(entries):
            raise UserError(f"{path}:{number}: a second schedule {entries[-1].name}: give each a name of its own")
    if not entries:
        raise UserError(f"{path}: no schedule in it; deploy/cron/crontab is an example")
    return entries


def local_zone(name: str | None) -> tzinfo:
    """The time zone `name`, as TZ has it, else this machine's. Raises ValueError."""
    if name:
        try:
            return ZoneInfo(name.removeprefix(":"))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name}: expected a time zone, such as Europe/Berlin") from None
    if _LOCALTIME.is_file():
        with _LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file, key="localtime")
    return UTC


def _entry(line: str, environment: dict[str, str], zone: tzinfo) -> Entry:
    """Raises ValueError that says what is wrong with `line`."""
    parts = line.split(None, 1 if line.startswith("@") else 5)
    if len(parts) < 2 or (not line.startswith("@") and len(parts) < 6):
        raise ValueError(f"expected {_FIELDS}, and a command")
    when = _SHORT.get(parts[0].lower(), parts[0]) if line.startswith("@") else " ".join(parts[:5])
    try:
        if when != REBOOT and next(CronSim(when, datetime.now(UTC)), None) is None:
            raise ValueError(f"{when!r} never comes")
    except CronSimError as error:
        raise ValueError(f"{when}: {str(error).lower()}: expected {_FIELDS}") from None
    own_zone = local_zone(environment.get("CRON_TZ")) if environment.get("CRON_TZ") else zone
    command = _command(parts[-1])
    return Entry(_name(command), when, command, own_zone, dict(environment))


def _command(text: str) -> str:
    """As cron reads it: a percent sign would begin the command's input, unless there is a backslash before it."""
    if re.search(r"(?<!\\)%", text):
        raise ValueError(r"write \% for a percent sign, as cron asks for it")
    return text.replace(r"\%", "%")


def _name(command: str) -> str:
    """Of the schedule, which is the wrapper's first argument. One command it must be: a shell in between would keep
    SIGTERM from it.
    """
    words = list(shlex.shlex(command, posix=True, punctuation_chars=True))
    if _JOINTS.intersection(words):
        raise ValueError("expected one command: put several into a script, and deploy/cron/run NAME before that")
    words = [word for word in shlex.split(command) if not _ASSIGNMENT.fullmatch(word)]
    if not words or not words[0].endswith(_WRAPPERS) or len(words) < 2:
        raise ValueError("expected deploy/cron/crawl NAME, or deploy/cron/run NAME before any other command")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", words[1]):
        raise ValueError(f"schedule {words[1]}: expected a name of letters, digits, - and _")
    return words[1]
