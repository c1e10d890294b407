"""Write the PrometheusRule: `python -m deploy.prometheus`. A test sees to it that it agrees with the rules."""

from deploy.prometheus import WRITTEN, text_of_rules

WRITTEN.write_text(text_of_rules(), encoding="utf-8")
