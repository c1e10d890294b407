"""What the installed Chromium calls itself, for plain HTTP that shares an identity with it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

from browser_pool.chromium import find_executable
from crawlers.exceptions import UserError
from crawlers.identities.profiles import CHROME, CHROMIUM, BrowserProfile, profile_of

_PATIENCE = 20.0
"""Seconds for Chromium to tell its version."""
_AGENT = "Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0 Safari/537.36"
_SYSTEMS = {
    "linux": "X11; Linux x86_64",
    "darwin": "Macintosh; Intel Mac OS X 10_15_7",
    "win32": "Windows NT 10.0; Win64; x64",
}
"""As Chromium names them, whatever the processor, by sys.platform."""


def engine_profile(settings: Any) -> BrowserProfile | None:
    """The profile of the Chromium that renders pages here; None where there is none. Blocks for less than a second."""
    try:
        executable = find_executable(settings["BROWSER_EXECUTABLE"])
        told = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=_PATIENCE).stdout
    except (UserError, OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"(\d+)\.\d+\.\d+\.\d+", told)
    if version is None:
        return None
    family = CHROME if "Google Chrome" in told else CHROMIUM
    system = _SYSTEMS.get(sys.platform)
    found = profile_of(_AGENT.format(system=system, major=version[1])) if system is not None else None
    return replace(found, family=family) if found is not None else None
