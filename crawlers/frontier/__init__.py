"""The frontier: every request of a crawl in Redis, leased to workers, settled once, asked for politely.

lua/           what happens to requests, atomically; common.lua describes the keys
connection.py  one connection to the server that holds a shard: single, Sentinel or Cluster
session.py     a worker's side of one shard: prefetched leases, ordered write-behind, reconnection
frontier.py    a worker's side of all shards: enqueue, take, settle
crawls.py      crawls: open or join, seeding, state, completion
intake.py      a spider's requests as the frontier takes them
scheduler.py   the frontier as a Scrapy scheduler; downloader.py sends what it hands out, when it may be sent
verbs/         the subcommands of `scrapy frontier`
importing.py   what is brought over from scrapy-redis
"""
