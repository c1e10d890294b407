"""Schedules: `run` and `crawl`, which cron starts, and `python -m deploy.cron`, where there is no cron."""
