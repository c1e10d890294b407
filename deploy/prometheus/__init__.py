"""The rules as the Prometheus operator wants them: `python -m deploy.prometheus` writes them."""

from __future__ import annotations

from pathlib import Path

RULES = Path(__file__).parent / "rules"
WRITTEN = Path(__file__).parents[1] / "k8s" / "components" / "monitoring" / "rules.yaml"
_HEAD = """\
# Made of deploy/prometheus/rules: python -m deploy.prometheus
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: seine
  labels:
    app.kubernetes.io/name: seine
spec:
  groups:
"""


def text_of_rules() -> str:
    """A PrometheusRule with the groups of all files, comments included, in the order of their names."""
    lines = [line for path in sorted(RULES.glob("*.yml")) for line in _groups(path.read_text(encoding="utf-8"))]
    return _HEAD + "".join(f"  {line}".rstrip() + "\n" for line in lines)


def _groups(text: str) -> list[str]:
    _, found, groups = text.partition("groups:\n")
    assert found, "a file of rules has groups"
    return groups.splitlines()
