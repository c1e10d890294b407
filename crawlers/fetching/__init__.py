"""How a page is fetched, and from where it may not be."""
