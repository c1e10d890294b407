"""Exactly once: a request's records and its settlement are one. docs/exactly-once.md has the protocol, step by step."""
