"""Delivery's numbers, each beside what it is compared with: `make bench-delivery`."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.delivery.bench import Bench
from bench.delivery.claims import claims
from bench.delivery.latency import latency
from bench.delivery.rate import rate
from bench.delivery.services import running_stack
from bench.frontier import table

PARTS: dict[str, tuple[Callable[[Bench], list[table.Row]], tuple[str, ...]]] = {
    "rate": (rate, ("kafka", "schema_registry")),
    "latency": (latency, ("kafka", "schema_registry", "redis")),
    "claims": (claims, ("hdfs",)),
}
"""Of each part: the function, and the services that it needs."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.delivery", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all when none is named")
    parser.add_argument("--rounds", type=int, default=5, help="how often the sides take turns (%(default)s)")
    parser.add_argument("--records", type=int, default=30_000, help="that a side delivers in a round (%(default)s)")
    parser.add_argument("--seconds", type=float, default=15, help="of a crawl at half load (%(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print the table as docs/performance.md has it")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}: expected {', '.join(PARTS)}")
    return options


def main() -> None:
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    parts = [PARTS[name] for name in options.parts or PARTS]
    services = sorted({service for _, needed in parts for service in needed})
    rows: list[table.Row] = []
    with tempfile.TemporaryDirectory(prefix="seine-bench-") as name, running_stack(Path(name), services) as env:
        bench = Bench(env, Path(name), options.rounds, options.records, options.seconds)
        for part, _ in parts:
            rows += part(bench)
    print(f"{options.rounds} rounds, medians")
    print(table.markdown(rows) if options.markdown else table.text(rows))
    sys.exit(any(row.is_kept is False for row in rows))


if __name__ == "__main__":
    main()
