"""The browser pool's numbers, beside scrapy-playwright as its README shows it and a bare loop: `make bench-browser`.

All sides render the same pages of a server on loopback with the same Chromium, as many at once, and take turns in
`--rounds` rounds. CPU is that of all processes of a side: its worker's, the driver's, Chromium's. A run of a few pages,
made each time beside the long one, is subtracted, so that starting and ending cost nothing.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench.browser.sides import BARE, POOL, README, Figures, Run, RunFailed, Side, first_pages, sides_of
from bench.browser.site import Site, running_site
from browser_pool.chromium import find_executable

WARM = 12
"""Pages of the short run."""
LIGHT, SHOP = "light", "shop"
MOST_CPU, LEAST_RATE, LEAST_PER_GIB, MOST_GROWTH = 0.6, 2.0, 12, 1.2
"""Budgets: of README's CPU per page, of its pages per second, light pages in flight per GiB, memory at a run's end as
a multiple of that after its first quarter."""


def speed(sides: list[Side], site: Site, kind: str, options: argparse.Namespace) -> dict[str, Figures]:
    """CPU per page and pages per second of each side."""
    figures = {side.name: Figures() for side in sides}
    for number in range(1, options.rounds + 1):
        for side in sides:
            short = side.run(Run(site.urls(kind, WARM), options.at_once))
            full = side.run(Run(site.urls(kind, options.pages), options.at_once))
            figures[side.name].add(short, full)
            print(f"  {kind} {number}  {side.name:<18}{figures[side.name].last}", file=sys.stderr, flush=True)
    return figures


def speed_table(kind: str, figures: dict[str, Figures]) -> list[str]:
    base = figures[README]
    lines = [
        "",
        f"{kind} pages",
        f"{'':<18}{'CPU per page':>14}{'ratio':>7}{'pages/s':>9}{'ratio':>7}{'first page':>12}",
    ]
    for name, one in figures.items():
        cpu, rate = median(one.cpu), median(one.rate)
        lines.append(
            f"{name:<18}{1000 * cpu:>11.0f} ms{cpu / median(base.cpu):>7.2f}{rate:>9.1f}"
            f"{rate / median(base.rate):>7.2f}{median(one.first):>10.2f} s"
        )
    return lines


def memory_table(pool: Side, site: Site, options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Pages in flight per GiB, and memory over many pages; which of their budgets are missed."""
    held = pool.run(Run(site.urls("held", options.held), options.held), watch=True)
    base = pool.run(Run(site.urls("held", 1), 1), watch=True)
    per_gib = options.held / (held.peak / 1024)
    lines = [
        "",
        f"{options.held} light pages in flight: {held.peak:.0f} MiB, {per_gib:.1f} per GiB (one: {base.peak:.0f} MiB)",
    ]
    long = pool.run(Run(site.urls(LIGHT, options.long), options.at_once), watch=True)
    quarters = [long.memory_at(options.long * part // 4) for part in (1, 2, 3, 4)]
    shown = ", ".join(f"{options.long * part // 4}: {size:.0f}" for part, size in enumerate(quarters, 1))
    missed = [f"{per_gib:.1f} light pages per GiB, budget {LEAST_PER_GIB}"] if per_gib < LEAST_PER_GIB else []
    if (growth := quarters[-1] / quarters[0]) > MOST_GROWTH:
        missed.append(f"memory grew {growth:.2f} times, budget {MOST_GROWTH}")
    return [*lines, f"MiB after so many pages: {shown}; peak {long.peak:.0f}"], missed


def misses(figures: dict[str, Figures]) -> list[str]:
    pool, base = figures[POOL], figures[README]
    cpu, rate = median(pool.cpu) / median(base.cpu), median(pool.rate) / median(base.rate)
    found = [f"CPU per page {cpu:.2f} of {README}'s, budget {MOST_CPU}"] if cpu > MOST_CPU else []
    return found + ([f"{rate:.2f} times its pages/s, budget {LEAST_RATE}"] if rate < LEAST_RATE else [])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.browser", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often the sides take turns (%(default)s)")
    parser.add_argument("--pages", type=int, default=150, help="pages of a long run (%(default)s)")
    parser.add_argument("--at-once", type=int, default=4, help="pages in flight (%(default)s)")
    parser.add_argument("--held", type=int, default=24, help="light pages in flight when memory is read (%(default)s)")
    parser.add_argument("--long", type=int, default=1000, help="pages over which memory is watched (%(default)s)")
    parser.add_argument("--executable", help="Chromium's program; one on PATH otherwise")
    parser.add_argument("--only", choices=("speed", "memory", "first"), action="append", help="leave the others out")
    parser.add_argument("--kind", choices=(LIGHT, SHOP), action="append", help="of page; both when none is named")
    parser.add_argument("--side", choices=(README, BARE, POOL), action="append", help="beside the first, or all")
    return parser.parse_args()


def main() -> None:
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    executable = find_executable(options.executable)
    parts = options.only or ["speed", "memory", "first"]
    lines, missed = [f"{executable}, {options.at_once} pages at once, medians of {options.rounds} rounds"], []
    with tempfile.TemporaryDirectory(prefix="b", dir="/tmp") as folder, running_site() as site:
        sides = sides_of(Path(folder), executable)
        try:
            if "speed" in parts:
                wanted = [side for side in sides if not options.side or side.name in {README, *options.side}]
                for kind in options.kind or (LIGHT, SHOP):
                    figures = speed(wanted, site, kind, options)
                    lines += speed_table(kind, figures)
                    missed += [f"{kind}: {what}" for what in misses(figures)] if POOL in figures else []
            if "first" in parts:
                cold, warm = first_pages(Path(folder), executable, site.urls(LIGHT, 1)[0], options.rounds)
                lines += ["", f"{POOL}'s first page: {cold:.2f} s from nothing, {warm:.2f} s from a warm start"]
            if "memory" in parts:
                found, too_much = memory_table(next(side for side in sides if side.name == POOL), site, options)
                lines, missed = lines + found, missed + too_much
        except RunFailed as error:
            raise SystemExit(str(error)) from None
    print("\n".join(lines))
    if missed:
        raise SystemExit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
