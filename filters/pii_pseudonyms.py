"""Pseudonyms that say which addresses are the same and nothing else: a keyed hash (BLAKE2b, RFC
7693) of the entity in one form, in letters, so that it is not taken for personal data again.

Twelve letters are 56 bits: among ten million addresses two share a pseudonym with probability
.0005. Who has the key can try addresses; without it that is as hard as guessing the key.
"""

import functools
import hashlib
import ipaddress
import re
from pathlib import Path

LETTERS = 12
MIN_KEY_BYTES = 16


@functools.cache
def read_key(path: str) -> bytes:
    """The secret in a file, without the line break at its end. ValueError if it is too short."""
    try:
        key = Path(path).read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise ValueError(f"key_file {path}: {error.strerror}") from None
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(
            f"key_file {path}: {len(key)} bytes; a secret has {MIN_KEY_BYTES} or more: "
            "head -c 32 /dev/urandom | base64"
        )
    return hashlib.blake2b(key).digest()  # 64 bytes, the longest that it takes as a key


def pseudonym(text: str, entity: str, key: bytes) -> str:
    """Twelve small letters."""
    form = canonical(text, entity).encode()
    digest = hashlib.blake2b(form, digest_size=16, key=key, person=entity.encode()).digest()
    number = int.from_bytes(digest, "big")
    letters = []
    for _ in range(LETTERS):
        number, letter = divmod(number, 26)
        letters.append(chr(ord("a") + letter))
    return "".join(letters)


def canonical(text: str, entity: str) -> str:
    """The same for two ways to write one address or number."""
    if entity == "email":
        return text.lower()
    if entity == "ip":
        try:
            return ipaddress.ip_address(text).compressed
        except ValueError:
            return text
    if entity in ("phone", "card", "ssn"):
        return re.sub(r"[^0-9]", "", text)
    if entity == "iban":
        return re.sub(r"[^0-9A-Z]", "", text.upper())
    if entity in ("name", "location"):
        return " ".join(text.casefold().split())
    return text
