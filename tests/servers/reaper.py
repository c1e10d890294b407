"""Runs a command as its subreaper: `python -m tests.servers.reaper PROGRAM ARGUMENT…`.

What the command's processes leave behind is reaped here, and is no zombie of the tests' process, which may be a
subreaper, too. Ends with the command's exit code, once all of its processes have ended.
"""

from __future__ import annotations

import os
import subprocess
import sys

from browser_pool.processes import adopt_orphans


def main() -> int:
    adopt_orphans()
    command = subprocess.Popen(sys.argv[1:])
    code = 0
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return code
        if pid == command.pid:
            code = os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
