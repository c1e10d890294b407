"""The keys that make tokens: the same value gives the same token, and nobody without the key can go back or guess."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from crawlers.exceptions import UserError

_ID = re.compile(r"[a-z][a-z0-9]{0,15}")
_TOKEN = re.compile(rf"tok_{_ID.pattern}_[a-p]{{32}}")
_SHORTEST = 32
_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
_EXPECTED = (
    f"expected id:secret, an id of 1 to 16 small letters and digits, a secret of at least {_SHORTEST} characters"
)


@dataclass(frozen=True, slots=True)
class MaskingKeys:
    """HMAC-SHA256 keys by id, the newest first.

    A token is `tok_ID_` and 128 bits as 32 letters. It holds nothing that a pattern would find, so that masking twice
    is masking once, and it names its key, so that the tokens of a retired key can still be told and made again.
    """

    keys: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, settings: Any) -> Self:
        """The keys of MASKING_KEYS_FILE, one a line, or of MASKING_KEYS. Raises UserError, which shows no secret."""
        if path := settings.get("MASKING_KEYS_FILE"):
            return cls.read(_lines(Path(path)), f"MASKING_KEYS_FILE={path}: line")
        return cls.read(settings.getlist("MASKING_KEYS"), "MASKING_KEYS: key")

    @classmethod
    def read(cls, entries: list[str], where: str) -> Self:
        """The keys of `id:secret` entries; `where` begins the error of a wrong one, before its number."""
        keys: dict[str, bytes] = {}
        for number, entry in enumerate(entries, 1):
            if not (text := entry.strip()) or text.startswith("#"):
                continue
            name, _, secret = text.partition(":")
            if not _ID.fullmatch(name) or len(secret.strip()) < _SHORTEST:
                raise UserError(f"{where} {number}: {_EXPECTED}")
            if name in keys:
                raise UserError(f"{where} {number}: a second key {name}, expected another id")
            keys[name] = secret.strip().encode()
        return cls(tuple(keys.items()))

    def __bool__(self) -> bool:
        return bool(self.keys)

    def token(self, kind: str, value: str) -> str:
        """The token of `value` under the newest key; `kind` keeps an address and a name apart that read the same."""
        return _token(*self.keys[0], kind, value)

    def lasting_token(self, kind: str, value: str) -> str:
        """That under the oldest key: record keys keep it when a newer key comes."""
        return _token(*self.keys[-1], kind, value)

    def each(self) -> list[MaskingKeys]:
        """Every key alone, the newest first: together they make all tokens that records may hold of a value."""
        return [MaskingKeys((key,)) for key in self.keys]


def is_token(text: str) -> bool:
    """Whether `text` is a token, of whichever key."""
    return _TOKEN.fullmatch(text) is not None


def _token(name: str, secret: bytes, kind: str, value: str) -> str:
    digest = hmac.digest(secret, f"{kind}\0{value}".encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"tok_{name}_{digest[:16].hex().translate(_LETTERS)}"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(f"MASKING_KEYS_FILE={path}: {reason}") from None
