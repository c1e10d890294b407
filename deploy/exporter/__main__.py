"""python -m deploy.exporter [--host HOST] [--port PORT] [--certificate HOST:PORT]..."""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from scrapy.utils.project import get_project_settings

from crawlers import logs
from crawlers.exceptions import SeineError, UserError
from crawlers.settings_check import check_settings
from deploy.exporter.looking import Exporter
from deploy.exporter.serving import server
from pipelines.kafka_config import client_config


def main(argv: list[str] | None = None) -> int:
    """Exit code 0: it was told to stop. 2: a mistake."""
    options = _parser().parse_args(argv)
    settings = get_project_settings()
    try:
        check_settings(settings)
        logs.install(settings)
        if not settings.get("KAFKA_BOOTSTRAP_SERVERS"):
            raise UserError("KAFKA_BOOTSTRAP_SERVERS is not set: there is no Kafka to look at")
        exporter = Exporter(client_config(settings), options.certificate, options.interval)
        _serve(exporter, options.host, options.port)
    except SeineError as error:
        print(f"seine: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.exporter", description="Consumers' lag, for Prometheus.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9411, help="the port (default: %(default)s)")
    parser.add_argument("--interval", type=float, default=15.0, help="seconds between two looks (%(default)s)")
    parser.add_argument(
        "--certificate", action="append", default=[], metavar="HOST:PORT", type=_endpoint, help="a TLS server's end"
    )
    return parser


def _endpoint(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: expected host:port")
    return text


def _serve(exporter: Exporter, host: str, port: int) -> None:
    """Until SIGTERM or Ctrl-C."""
    try:
        web = server(exporter, host, port)
    except OSError as error:
        raise UserError(f"--port {port}: cannot be listened on at {host}: {error.strerror}") from None
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=web.serve_forever, daemon=True).start()
    exporter.run(stop)
    web.shutdown()


if __name__ == "__main__":
    sys.exit(main())
