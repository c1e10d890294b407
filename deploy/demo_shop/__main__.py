"""python -m deploy.demo_shop up | down | status | run"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvloop

from deploy.demo_shop.process import ShopError, ShopProcess, serve
from deploy.demo_shop.server import DEFAULT_PORT, HOST, PortTaken


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    shop = ShopProcess(options.dir, options.port)
    try:
        if options.action == "run":
            uvloop.run(serve(options.port, options.host, options.name))
            return 0
        return {"up": _up, "down": _down, "status": _status}[options.action](shop)
    except (ShopError, PortTaken) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo_shop", description="The demo shop.")
    parser.add_argument("action", choices=("up", "down", "status", "run"), help="up detaches, run stays in front")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="the first of four (default: %(default)s)")
    parser.add_argument("--host", default=HOST, help="run: the address to listen at (default: %(default)s)")
    parser.add_argument("--name", default="", help="run: what pages call it, as a service's name (its address)")
    parser.add_argument("--dir", type=Path, default=Path(".stack/demo_shop"), help="pid file and log (%(default)s)")
    return parser


def _up(shop: ShopProcess) -> int:
    print("\n".join(shop.up()))
    return 0


def _down(shop: ShopProcess) -> int:
    print("stopped" if shop.down() else "not running")
    return 0


def _status(shop: ShopProcess) -> int:
    """0 where it runs, 1 where it does not."""
    pid = shop.pid()
    if not pid:
        print("not running")
        return 1
    urls = shop.urls(pid)
    print(f"running, pid {pid}: {' '.join(urls)}" if urls else f"pid {pid} does not answer on port {shop.port}")
    return 0 if urls else 1


if __name__ == "__main__":
    sys.exit(main())
