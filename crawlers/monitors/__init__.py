"""Alarms in the crawl itself: what each site's crawl came to is judged once, when the crawl is complete."""
