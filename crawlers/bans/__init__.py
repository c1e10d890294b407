"""Walls that sites show instead of pages: blocks, challenges, CAPTCHAs."""
