"""The verbs of `scrapy frontier`."""
