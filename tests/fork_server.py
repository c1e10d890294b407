"""Forks of a process that has all modules already run `python -m scrapy`.

To import them takes a second of CPU, most of what a command of a test needs. The settings, which read the environment,
and what the settings name outside of Seine are imported by each command anew. tests.forks starts this file with a
socket as its standard input.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import sys
import threading
import time
from pathlib import Path

ROOT = str(Path(__file__).parents[1])
PACKAGES = ("browser_pool", "crawlers", "middlewares", "pipelines")
SETTINGS = "crawlers.settings"
LIBRARIES = """
    scrapy.cmdline scrapy.crawler scrapy.core.engine scrapy.core.scraper scrapy.core.downloader.handlers.http11
    scrapy.extensions.logstats scrapy.extensions.memusage scrapy.spidermiddlewares.referer scrapy_redis
    twisted.internet.asyncioreactor twisted.web.client uvloop aiohttp
    redis.asyncio redis.asyncio.cluster redis.asyncio.sentinel confluent_kafka.admin
    confluent_kafka.schema_registry.avro fastavro msgpack msgspec prometheus_client structlog.dev price_parser
    fake_useragent protego
"""


def serve(requests: socket.socket) -> tuple[list[str], str, dict[str, str]] | None:
    """In a fork, what to run: arguments, folder, environment. In the server, None when nobody asks any more.

    A request comes with the command's standard input, output and error; its answer is the command's pid.
    """
    while True:
        message, files, _, _ = socket.recv_fds(requests, 1 << 20, 3)
        if not message:
            return None
        reading, writing = os.pipe()
        if (parent := os.fork()) == 0:
            if (command := os.fork()) == 0:
                for number, file in enumerate(files):
                    os.dup2(file, number)
                os.closerange(3, max(*files, reading, writing, requests.detach()) + 1)
                arguments, folder, environment = json.loads(message)
                return arguments, folder, environment
            os.write(writing, str(command).encode())
            os._exit(0)
        pid = os.read(reading, 20)
        os.waitpid(parent, 0)  # now the command is a child of the subreaper, which asks
        for file in (*files, reading, writing):
            os.close(file)
        requests.sendall(pid)


def own_modules() -> list[str]:
    """All of Seine's but the settings."""
    found = [module for name in PACKAGES for module in pkgutil.walk_packages([f"{ROOT}/{name}"], f"{name}.")]
    return [module.name for module in found if module.name != SETTINGS]


def main() -> None:
    sys.path[0] = ROOT
    for name in (*LIBRARIES.split(), *own_modules()):
        importlib.import_module(name)
    assert SETTINGS not in sys.modules, "they read the environment"
    assert threading.active_count() == 1, "a fork would lack its threads"
    assert "twisted.internet.reactor" not in sys.modules, "a command installs its own"
    gc.freeze()
    asked = serve(socket.socket(fileno=os.dup(0)))
    if asked is None:
        return
    gc.unfreeze()
    arguments, folder, environment = asked
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.path[0:1] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = ["scrapy", *arguments]
    runpy.run_module("scrapy", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
