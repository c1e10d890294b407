"""Forward proxies: which there are, how each does at each domain, and which one a request takes."""
