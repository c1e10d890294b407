"""What is remembered of products from crawl to crawl, so that EMIT=changes produces what changed, and no more."""
