"""Dead letters as `scrapy dlq` sees them: read from their topic, told, and replayed."""
