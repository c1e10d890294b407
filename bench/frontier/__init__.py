"""The frontier beside scrapy-redis and plain Scrapy: `make bench-frontier`.

server.py      a private redis-server, and what it tells of its CPU, memory and scripts
sides.py       the settings of each side: the same crawl, another scheduler
site.py        the site that is crawled, and the download handler that answers without a network
worker.py      one crawl in a process of its own, and what it measured
spiders.py     the spiders that run there
table.py       the rows of the report
calls.py cpu.py memory.py leases.py scale.py politeness.py    the parts
"""
