"""Tracing: what one attempt at a request did, from the frontier to Kafka's delivery report, as OpenTelemetry's spans.

Off, nothing here is imported but by type. On, `trace.py` gathers moments while a request is worked on, `spans.py` makes
spans of them once it is settled, `export.py` hands those to the collector.
"""
