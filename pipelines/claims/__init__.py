"""Claim checks: large fields are kept outside of their records. docs/claim-check.md describes the format."""
