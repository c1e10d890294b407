"""The frontier's numbers, each beside what it is compared with: `make bench-frontier`."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.frontier import table
from bench.frontier.bench import Bench, two_cpus
from bench.frontier.calls import calls, throughput
from bench.frontier.cpu import cpu
from bench.frontier.leases import leases
from bench.frontier.memory import memory, pending
from bench.frontier.politeness import politeness
from bench.frontier.scale import scale
from bench.frontier.server import redis_server
from bench.frontier.worker import WorkerFailed

PARTS: dict[str, Callable[[Bench], list[table.Row]]] = {
    "calls": calls,
    "throughput": throughput,
    "cpu": cpu,
    "memory": memory,
    "pending": pending,
    "leases": leases,
    "scale": scale,
    "politeness": politeness,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.frontier", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all when none is named")
    parser.add_argument("--rounds", type=int, default=5, help="how often the sides take turns (%(default)s)")
    parser.add_argument("--full", action="store_true", help="also what takes many minutes: 10 million URLs")
    parser.add_argument("--patience", type=float, default=20, help="seconds to wait for a quiet machine (%(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print the table as docs/performance.md has it")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}: expected {', '.join(PARTS)}")
    return options


def main() -> None:
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    worker_cpu, redis_cpu = two_cpus()
    rows: list[table.Row] = []
    with tempfile.TemporaryDirectory(prefix="seine-bench-") as folder, redis_server(Path(folder), redis_cpu) as server:
        bench = Bench(server, options.rounds, options.full, options.patience, worker_cpu)
        for name in options.parts or PARTS:
            try:
                rows += PARTS[name](bench)
            except WorkerFailed as error:
                raise SystemExit(f"{name}: {error}") from None
        print(f"Redis {server.version}, {options.rounds} rounds, medians")
    print(table.markdown(rows) if options.markdown else table.text(rows))
    sys.exit(any(row.is_kept is False for row in rows))


if __name__ == "__main__":
    main()
