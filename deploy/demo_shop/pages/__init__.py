"""The shop's pages, each a function from the shop's state to HTML text."""
