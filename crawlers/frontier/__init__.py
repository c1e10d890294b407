"""The frontier: every request of a crawl in Redis, leased to workers, settled once, asked for politely.

shard.py       what a shard's Lua scripts take and give
connection.py  one connection to the server that holds a shard: single, Sentinel or Cluster
session.py     a worker's side of one shard: prefetched leases, ordered write-behind, reconnection
frontier.py    a worker's side of all shards: enqueue, take, settle
crawls.py      crawls: open or join, seeding, state, completion
scheduler.py   the frontier as a Scrapy scheduler
"""
