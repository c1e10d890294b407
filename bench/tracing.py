"""What tracing adds to a page on its way to Kafka: `python -m bench.tracing`.

The same crawl with tracing off, with one trace in a hundred and with all of them takes turns, as in bench.pages, whose
measure this is. The collector is in this process, so its work is not counted.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from bench.pages import KAFKA, ROOT, Bench, Figures, crawls_in, own_shop, own_topics, stack_environment, write_urls
from bench.worker import Crawl
from deploy.demo_shop.site_files import site_toml

OFF, SOME, ALL, BEFORE = "off", "1 in 100", "all", "another checkout"


class _Answers(BaseHTTPRequestHandler):
    """Takes what comes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def collector() -> Iterator[str]:
    """Its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def sides(crawl: Crawl, url: str, before: Crawl | None) -> dict[str, Crawl]:
    """The crawl in its ways."""

    def traced(share: str) -> Crawl:
        sampled = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": share}
        env = {**crawl.environment, "OTEL_EXPORTER_OTLP_ENDPOINT": url, **sampled}
        return Crawl(crawl.arguments, crawl.folder, env, crawl.scratch, crawl.cpus)

    found = {OFF: crawl, SOME: traced("0.01"), ALL: traced("1")}
    return found if before is None else {BEFORE: before, **found}


def table(figures: dict[str, Figures]) -> str:
    base = median(figures[OFF].cpu)
    lines = [f"{'tracing':<18}{'CPU per page':>14}{'ratio':>8}{'range':>15}{'one page':>10}{'peak RSS':>11}"]
    for name, one in figures.items():
        cpu, span = median(one.cpu), f"{min(one.cpu):.2f}-{max(one.cpu):.2f}"
        lines.append(
            f"{name:<18}{cpu:>11.2f} ms{cpu / base:>8.2f}{span:>15}{median(one.start):>8.2f} s{max(one.rss):>7.0f} MiB"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tracing", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often they take turns (%(default)s)")
    parser.add_argument("--pages", type=int, default=1200, help="addresses in the long list (%(default)s)")
    parser.add_argument("--before", type=Path, help="another checkout's folder, to compare")
    options = parser.parse_args()
    stack = stack_environment()
    cpus = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="seine-bench-") as name, own_topics(stack) as topics, collector() as url:
        scratch = Path(name)
        with own_shop(scratch, cpus[-1] if len(cpus) > 1 else None) as bases:
            (scratch / "sites").mkdir()
            (scratch / "sites" / "demo.toml").write_text(site_toml(bases).replace("pages = 5000", "pages = 0"))
            kafka, worker_cpus = {**stack, **topics}, frozenset(cpus[:-1])
            crawl = crawls_in(scratch, ROOT, kafka, worker_cpus)[KAFKA]
            other = crawls_in(scratch, options.before, kafka, worker_cpus)[KAFKA] if options.before else None
            bench = Bench(sides(crawl, url, other), *write_urls(scratch, bases, options.pages))
            print(table(bench.measure(options.rounds)))


if __name__ == "__main__":
    main()
