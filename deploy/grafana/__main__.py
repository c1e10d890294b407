"""Write the dashboards: `python -m deploy.grafana`. A test sees to it that what is committed is what is described."""

from deploy.grafana.boards import BOARDS, FOLDER
from deploy.grafana.panels import text_of

for name, board in BOARDS.items():
    (FOLDER / f"{name}.json").write_text(text_of(board), encoding="utf-8")
