"""One side in a process of its own: `measure` starts it from here, and it prints what it measured as JSON."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench.delivery.pages import products
from bench.delivery.services import settings_of
from bench.delivery.sides import SIDES

ROOT = Path(__file__).resolve().parents[2]
_WARM_UP = 200
"""Records that are not measured: with the first, connections are made."""


class Measured(NamedTuple):
    """Of one delivery of many records."""

    rate: float
    """Records per second, from the first to the last acknowledgement."""
    cpu: float
    """Microseconds per record of all threads of the process; Kafka's own are not in it."""


def measure(side: str, records: int, env: dict[str, str], schema_id: int) -> Measured:
    """What `side` takes to deliver `records` to the topics that `env` names."""
    command = [sys.executable, "-m", "bench.delivery.worker", side, str(records), str(schema_id), json.dumps(env)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise SystemExit(f"{side}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    return Measured(*json.loads(done.stdout))


async def _measure(side: str, records: int, schema_id: int, env: dict[str, str]) -> Measured:
    way = SIDES[side](settings_of(env), schema_id)
    given = way.prepare(products(_WARM_UP + records))
    await way.deliver(given[:_WARM_UP])
    gc.freeze()  # a worker does not hold so many items, which each collection would look through
    started, cpu = time.monotonic(), time.process_time()
    await way.deliver(given[_WARM_UP:])
    seconds, used = time.monotonic() - started, time.process_time() - cpu
    return Measured(records / seconds, 1e6 * used / records)


def main() -> None:
    side, records, schema_id, env = sys.argv[1:]
    measured = uvloop.run(_measure(side, int(records), int(schema_id), json.loads(env)))
    print(json.dumps(measured), flush=True)
    os._exit(0)  # poll threads and producers have nothing left to do


if __name__ == "__main__":
    main()
