"""What `scrapy claims` does: the store and the topics that refer to it."""
