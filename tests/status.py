"""A process's status, as whoever asks for it over HTTP sees it."""

from __future__ import annotations

import re
from typing import Any

import requests

from tests.polling import until

_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class StatusAt:
    """What is served at a port of this machine."""

    def __init__(self, port: int, token: str = ""):
        self.url = f"http://127.0.0.1:{port}"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, **headers: str) -> requests.Response:
        return requests.get(self.url + path, headers={**self._headers, **headers}, timeout=30)

    def wait(self) -> StatusAt:
        """Until it answers."""
        until(self._answers, f"no answer of {self.url}")
        return self

    def json(self) -> Any:
        return self.get("/status.json").json()

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Samples by name and labels' values, in the order of the labels' names."""
        answer = self.get("/metrics")
        assert answer.ok, answer.text
        return read_metrics(answer.text)

    def _answers(self) -> bool:
        try:
            return self.get("/healthz").ok
        except requests.RequestException:
            return False


def read_metrics(text: str) -> dict[tuple[str, ...], float]:
    """Of Prometheus's text format."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = _SAMPLE.fullmatch(line).groups()  # type: ignore[union-attr]
            found[name, *(value for _, value in sorted(_LABEL.findall(labels or "")))] = float(value)
    return found
