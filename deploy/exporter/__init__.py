"""Tells Prometheus what no worker knows: consumers' lag, Kafka's replicas, when certificates end.

`python -m deploy.exporter` uses Seine's own Kafka settings, and reads no message but one per partition that a group is
behind in, for its time.
"""
