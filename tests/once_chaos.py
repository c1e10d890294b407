"""Hurts a crawl that delivers exactly once: its workers, its Redis and its broker, at random moments of a seed."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
from collections import Counter, deque
from collections.abc import Callable
from time import monotonic, sleep

from redis.exceptions import RedisError

from deploy.local import Stack
from tests.exactly_once import LEASE_SECONDS, TRANSACTION_TIMEOUT, OnceCrawl

WORKERS = 3
PATIENCE = 240.0
"""Seconds until the crawl must have gone on."""
LONGEST_STOP = 2 * max(LEASE_SECONDS, TRANSACTION_TIMEOUT)
REFUSALS = ("does not answer", "cannot be used")
ROLLBACK = 40_000
"""Bytes of Redis's log of writes that a rollback takes along, at most."""


class Chaos:
    """`disturbances` of a crawl, evenly spread over its requests."""

    def __init__(self, crawl: OnceCrawl, stack: Stack, seed: int):
        self._crawl = crawl
        self._stack = stack
        self._choose = random.Random(seed)
        self._workers: list[subprocess.Popen[str]] = []
        self._stopped: list[threading.Timer] = []
        self._sizes: deque[int] = deque(maxlen=400)
        """Of Redis's log of writes, lately."""
        self.done: Counter[str] = Counter()

    def run(self, disturbances: int) -> dict[str, int]:
        """The crawl's counts, once every worker has ended well and everything was checked."""
        try:
            for _ in range(WORKERS):
                self._start()
            pages = len(self._crawl.tree)
            for number in range(disturbances):
                self._wait_for(round(pages * 0.9 * (number + 1) / (disturbances + 1)))
                self._disturb()
            self._end()
            return self._crawl.check()
        finally:
            for worker in self._workers:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
                worker.communicate()

    def _disturb(self) -> None:
        ways: dict[Callable[[], None], int] = {
            self._kill: 10,
            self._stop: 8,
            self._restart_redis: 2,
            self._roll_redis_back: 2,
            self._restart_broker: 1,
            self._kill_broker: 1,
        }
        [way] = self._choose.choices(list(ways), list(ways.values()))
        self.done[way.__name__.strip("_").replace("_", " ")] += 1
        way()

    def _start(self) -> None:
        self._workers.append(self._crawl.start())

    def _kill(self) -> None:
        victim = self._workers.pop(self._choose.randrange(len(self._workers)))
        victim.kill()
        victim.communicate()
        self._start()

    def _stop(self) -> None:
        """Also for longer than a lease and a transaction last."""
        victim = self._choose.choice(self._workers)
        seconds = self._choose.uniform(0.1, LONGEST_STOP)
        victim.send_signal(signal.SIGSTOP)
        timer = threading.Timer(seconds, victim.send_signal, [signal.SIGCONT])
        timer.start()
        self._stopped.append(timer)

    def _restart_redis(self) -> None:
        self._crawl.redis_server.stop()
        self._crawl.redis_server.start()

    def _roll_redis_back(self) -> None:
        """To what it was a moment ago: not all of what it has acknowledged is there."""
        size = self._crawl.redis_server.log_of_writes.stat().st_size
        earlier = [one for one in self._sizes if size - ROLLBACK <= one < size]
        self._crawl.redis_server.kill_and_forget(self._choose.choice(earlier or [size]))
        self._sizes.clear()
        self._crawl.redis_server.start()

    def _restart_broker(self) -> None:
        self._stack.down(services=["kafka"])
        self._stack.up(["kafka"])

    def _kill_broker(self) -> None:
        process = self._stack.services["kafka"].daemons[0].process()
        assert process is not None
        process.kill()
        process.wait(10)
        self._stack.up(["kafka"])

    def _wait_for(self, settled: int) -> None:
        deadline = monotonic() + PATIENCE
        while self._settled() < settled:
            assert monotonic() < deadline, self._failure(f"{settled} requests are not settled")
            self._start_again()
            self._sizes.append(self._crawl.redis_server.log_of_writes.stat().st_size)
            sleep(0.02)

    def _start_again(self) -> None:
        """A start that met a service on its way up is refused; whatever supervises workers starts them again."""
        for worker in [one for one in self._workers if one.poll() not in (None, 0)]:
            _, err = worker.communicate()
            line = err.strip().splitlines()[-1]
            assert worker.returncode == 1 and any(sign in line for sign in REFUSALS), err[-2000:]  # noqa: PT018
            self._workers.remove(worker)
            self._start()

    def _settled(self) -> int:
        try:
            return self._crawl.settled()
        except RedisError:
            return 0

    def _end(self) -> None:
        for timer in self._stopped:
            timer.join()
        for worker in self._workers:
            try:
                _, err = worker.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                raise AssertionError(self._failure("a worker does not end")) from None
            assert worker.returncode == 0 or any(sign in err for sign in REFUSALS), err[-2000:]

    def _failure(self, what: str) -> str:
        return f"{what} within {PATIENCE} s: {self._crawl.counts()}, {dict(self.done)}"
