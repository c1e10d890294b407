"""kcat, as Debian packages it: a reader of topics on librdkafka, in C."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

_FORMAT = r"%K %S %h\n%k%s\n%p\n"
"""Lengths and headers, the key and the value as they are, the partition."""


@dataclass(frozen=True)
class KcatRecord:
    key: bytes
    value: bytes
    headers: dict[str, str]
    partition: int


def is_installed() -> bool:
    return shutil.which("kcat") is not None


def decodes_avro() -> bool:
    """Whether this kcat was built with Avro; Debian's is not."""
    return "Avro" in subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=True).stdout


def read(brokers: str, topic: str) -> list[KcatRecord]:
    """Every record of the topic, its value in bytes."""
    return list(_parsed(_kcat(brokers, topic, "-f", _FORMAT)))


def lines(brokers: str, topic: str, *options: str) -> list[str]:
    """What kcat prints with those options, a line for each record."""
    return _kcat(brokers, topic, *options).decode().splitlines()


def _kcat(brokers: str, topic: str, *options: str) -> bytes:
    command = ["kcat", "-C", "-b", brokers, "-t", topic, "-e", "-q", "-X", "isolation.level=read_committed", *options]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _parsed(out: bytes):
    while out:
        head, _, out = out.partition(b"\n")
        key_length, value_length, headers = re.fullmatch(rb"(\d+) (\d+) ?(.*)", head).groups()
        key, value = out[: int(key_length)], out[int(key_length) : int(key_length) + int(value_length)]
        out = out[int(key_length) + int(value_length) + 1 :]
        partition, _, out = out.partition(b"\n")
        pairs = (pair.partition("=") for pair in headers.decode().split(",") if pair)
        yield KcatRecord(key, value, {name: text for name, _, text in pairs}, int(partition))
