"""The verbs of `scrapy dlq`."""
