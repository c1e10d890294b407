"""A real Kerberos: MIT's KDC with a realm of its own, keytabs and tickets."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.polling import until
from tests.servers.ports import HOST, free_port

REALM = "SEINE.TEST"
_PROGRAMS = {"krb5kdc": "krb5-kdc", "kadmin.local": "krb5-admin-server", "kinit": "krb5-user"}
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"

_KRB5_CONF = """\
[libdefaults]
    default_realm = {realm}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    udp_preference_limit = 1
[realms]
    {realm} = {{
        kdc = {host}:{port}
    }}
"""
_KDC_CONF = """\
[realms]
    {realm} = {{
        database_name = {folder}/principals
        key_stash_file = {folder}/stash
        acl_file = {folder}/acl
        kdc_listen = ""
        kdc_tcp_listen = {host}:{port}
    }}
"""


def missing() -> str:
    """What has to be installed before there can be a KDC and a client of it; empty where nothing is missing."""
    packages = [package for program, package in _PROGRAMS.items() if _which(program) is None]
    told = [f"apt-get install {' '.join(packages)}"] if packages else []
    if find_spec("spnego") is None or find_spec("gssapi") is None:
        told.append("pip install -r requirements-kerberos.txt")
    return " and ".join(told)


class Kdc:
    """Whoever has `env` in its environment is of this realm."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._port = free_port()
        self.config = folder / "krb5.conf"
        values = {"realm": REALM, "folder": folder, "host": HOST, "port": self._port}
        self.config.write_text(_KRB5_CONF.format(**values))
        (folder / "kdc.conf").write_text(_KDC_CONF.format(**values))
        self._run("kdb5_util", "create", "-s", "-P", "master-password", "-r", REALM)

    def __enter__(self) -> Self:
        log = (self._folder / "kdc.log").open("wb")
        with log:
            self._process = subprocess.Popen([_program("krb5kdc"), "-n"], env=self._own_env, stdout=log, stderr=log)
        until(self._listens, "the KDC did not listen")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(10)

    @property
    def env(self) -> dict[str, str]:
        return {"KRB5_CONFIG": str(self.config)}

    def keytab(self, principal: str) -> Path:
        """A new principal and the file that has its key."""
        path = self._folder / f"{principal.replace('/', '-')}.keytab"
        self._administer("addprinc", "-randkey", principal)
        self._administer("ktadd", "-k", str(path), principal)
        return path

    def expired_ticket(self, principal: str, keytab: Path, cache: Path) -> None:
        """Leave in the file `cache` what kinit has left there once its time is over."""
        self._run("kinit", "-l", "1s", "-c", str(cache), "-k", "-t", str(keytab), principal)
        until(lambda: not self._is_valid(cache), "the ticket did not expire")

    def _is_valid(self, cache: Path) -> bool:
        return subprocess.run([_program("klist"), "-s", "-c", str(cache)], env=self._own_env).returncode == 0

    def _administer(self, *command: str) -> None:
        self._run("kadmin.local", "-r", REALM, *command)

    def _run(self, program: str, *arguments: str) -> None:
        command = [_program(program), *arguments]
        done = subprocess.run(command, env=self._own_env, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def _own_env(self) -> dict[str, str]:
        return {**os.environ, **self.env, "KRB5_KDC_PROFILE": str(self._folder / "kdc.conf")}

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self._folder / "kdc.log").read_text()
        try:
            socket.create_connection((HOST, self._port), timeout=1).close()
        except OSError:
            return False
        return True


def _which(program: str) -> str | None:
    return shutil.which(program, path=_PATH)


def _program(name: str) -> str:
    path = _which(name)
    assert path is not None, name
    return path
