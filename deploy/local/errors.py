"""What can go wrong in the embedded stack. Each message is one line that a user can act on.

StackError
├── DownloadError         an artifact could not be fetched
│   └── DamagedDownload   its bytes are not the locked ones
├── PortTaken             a port that a service needs belongs to another process
└── StartFailed           a service ended, or did not answer, while it was starting
"""

from __future__ import annotations


class StackError(Exception):
    """The stack cannot do what was asked."""


class DownloadError(StackError):
    """An artifact of the lock could not be fetched as it was locked."""


class DamagedDownload(DownloadError):
    """A download's sha256 is not the lock's."""


class PortTaken(StackError):
    """A port that a service needs is in use."""


class StartFailed(StackError):
    """A service did not become ready; `log` holds the last lines it wrote."""

    def __init__(self, message: str, log: list[str] | None = None):
        super().__init__(message)
        self.log = log or []
