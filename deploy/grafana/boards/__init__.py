"""All dashboards by the names of their files."""

from pathlib import Path

from deploy.grafana.boards import browser, delivery, fetching, overview, sites
from deploy.grafana.panels import Board

FOLDER = Path(__file__).parents[1] / "dashboards"
BOARDS: dict[str, Board] = {
    module.__name__.rpartition(".")[2]: module.BOARD for module in (overview, fetching, browser, delivery, sites)
}
