"""A small web shop on loopback that crawls can be tried on and tests compared with: `python -m deploy.demo_shop up`."""

from deploy.demo_shop.background import running_shop
from deploy.demo_shop.server import DEFAULT_PORT, DemoShop, PortTaken

__all__ = ["DEFAULT_PORT", "DemoShop", "PortTaken", "running_shop"]
