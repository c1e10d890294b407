"""The folder of the claims: HDFS's root belongs to its superuser, who hands a folder of it to CLAIM_CHECK_USER."""

from __future__ import annotations

import time
from typing import Any

import requests

from crawlers.exceptions import StartupError, UserError
from pipelines.claims.address import HdfsAddress, read_address

_PATIENCE = 180.0
"""Seconds: a NameNode that has just started is in safe mode until its DataNodes have reported."""
_PAUSE = 1.0
_TIMEOUT = 10.0


def prepare_folder(settings: Any, superuser: str) -> str:
    """Make CLAIM_CHECK_URL's folder, and CLAIM_CHECK_USER its owner. Returns what was done; raises StartupError."""
    if not settings.get("CLAIM_CHECK_URL"):
        raise UserError("CLAIM_CHECK_URL is not set: there is no folder to prepare")
    address = read_address(settings["CLAIM_CHECK_URL"])
    if not isinstance(address, HdfsAddress):
        address.mkdir(parents=True, exist_ok=True)
        return f"folder {address}"
    owner = settings["CLAIM_CHECK_USER"]
    _patiently(address, {"op": "MKDIRS", "permission": "750", "user.name": superuser})
    _patiently(address, {"op": "SETOWNER", "owner": owner, "user.name": superuser})
    return f"folder {address.path} of {owner}"


def _patiently(address: HdfsAddress, query: dict[str, str]) -> None:
    """Ask each NameNode until one has done it."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        problems = [_ask(f"{address.scheme}://{namenode}", address.path, query) for namenode in address.namenodes]
        if not all(problems):
            return
        if time.monotonic() > deadline:
            raise StartupError(f"CLAIM_CHECK_URL={address.path}: {query['op']} fails: {problems[0]}")
        time.sleep(_PAUSE)


def _ask(namenode: str, path: str, query: dict[str, str]) -> str:
    """What went wrong; empty where it was done."""
    try:
        answer = requests.put(f"{namenode}/webhdfs/v1{path}", params=query, timeout=_TIMEOUT)
    except requests.RequestException as error:
        return str(error)
    return "" if answer.ok else f"{answer.status_code}: {answer.text[:200]}"
