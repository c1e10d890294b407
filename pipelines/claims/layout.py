"""Where a claim's bytes are, below the base URI of their store. Imports nothing of Seine's: consumers use it too."""

from __future__ import annotations

import re

ROOT = "claims/sha256"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PATH = re.compile(rb"claims/sha256/([0-9a-f]{2})/([0-9a-f]{2})/(\1\2[0-9a-f]{60})(?![0-9a-f])")


def is_sha256(text: str) -> bool:
    """Whether `text` is a SHA-256 as we write it: 64 hexadecimal digits in lower case."""
    return _SHA256.fullmatch(text) is not None


def blob_path(sha256: str) -> str:
    """The path of the blob with that hash."""
    return f"{ROOT}/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def claims_in(data: bytes) -> set[str]:
    """The hashes of all claims that a record's bytes refer to: in Avro and JSON alike, a URI is plain text."""
    return {match.group(3).decode() for match in _PATH.finditer(data)}
