"""Grafana's dashboards, made of the descriptions in boards/: `python -m deploy.grafana` writes dashboards/*.json."""
