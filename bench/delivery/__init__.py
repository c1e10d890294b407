"""Delivery beside raw librdkafka, the usual producer and the bare disk: `make bench-delivery`.

services.py    the embedded stack on free ports, and topics that no other run knows
pages.py       the demo shop's product pages, and the products in them
sides.py       the ways of bringing products to Kafka
worker.py      one side in a process of its own, and what it measured
site.py        a server whose pages carry the moment at which they were answered
arrivals.py    a consumer that notes when each record came
crawl.py       a worker as users start it
bench.py       what every part is given
rate.py latency.py claims.py    the parts
"""
