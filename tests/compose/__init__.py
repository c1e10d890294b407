"""The compose files, run for real by `make test-compose`: a fleet, a crawl, and what is killed meanwhile."""
