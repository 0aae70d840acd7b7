"""The text that join tokens and access tokens are made of: a strict alphabet, and hashing of secrets.

Only letters and digits that need no quoting anywhere: a token is put into URLs, manifests and shell
commands, and one with a hostile character must fail to parse (CVE-2022-36633 was a token with CR/LF
in an install script). Used by `join_token.py` and `bearer.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from arbora.errors import InvalidInput
from arbora.secret import Secret

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
"""Base32 in lower case: 5 bits a character."""

ID_LENGTH = 10
"""Characters of a token's public part."""

NO_HASH = "0" * 64
"""Compared with where there is no record, so that an unknown id takes as long as a wrong secret."""


def new_text(length: int) -> str:
    """`length` random characters, 5 bits each."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def is_text(text: str, length: int) -> bool:
    """Whether `text` has exactly `length` characters of the alphabet."""
    return len(text) == length and not text.strip(ALPHABET)


def split(text: str, prefix: str, parts: int, form: str) -> list[str]:
    """The `parts` pieces after `prefix.`. Raises InvalidInput, which never repeats the text."""
    pieces = text.split(".", parts + 1)
    if len(pieces) != parts + 1 or pieces[0] != prefix:
        raise malformed(form)
    return pieces[1:]


def malformed(form: str) -> InvalidInput:
    """The error for a text that is not of `form`. It never repeats the text: that may be a secret."""
    return InvalidInput(
        f"this is not a token of the form {form}",
        field="token",
        hint="Copy the whole token, without quotes, spaces or line ends.",
    )


def hash_secret(secret: Secret) -> str:
    """SHA-256 in hex. Secrets are random and long, so no slow hash is needed."""
    return hashlib.sha256(secret.reveal().encode()).hexdigest()


def is_secret(secret: Secret, secret_hash: str) -> bool:
    """Whether `secret` has that hash; compared in constant time."""
    return hmac.compare_digest(hash_secret(secret), secret_hash)
