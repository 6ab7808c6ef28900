"""Judges a run of letters and digits: is it a key, a token, or the address of a wallet?

Keys and tokens are known by the prefixes that their issuers publish so that scanners find them (as
GitHub's secret scanning and gitleaks do); what follows must be as long as theirs and have eight
different characters, so that `ghp_xxxx...` in a manual is left. Passwords and keys without a prefix
are not found. Addresses of wallets are known by their checksums: base58check and bech32 (BIP 173,
350), by presidio; EIP-55, by Keccak here.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator

import numpy as np

from filters.compiled import inlined, kernel

_RATE = 136  # bytes of a block of Keccak-256
_TOKEN = re.compile(
    rb"(?<![A-Za-z0-9])(?:"
    rb"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"  # AWS, access key ID
    rb"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"
    rb"|gl(?:pat|dt|rt|ptt|ft|soat|imt|cbt|agent)-[A-Za-z0-9_-]{20,255}"  # GitLab
    rb"|xox[abeoprs]-[A-Za-z0-9-]{15,255}|xapp-[0-9]-[A-Za-z0-9-]{20,255}"  # Slack
    rb"|AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{28}|ya29\.[A-Za-z0-9_-]{20,2048}"  # Google
    rb"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,255}|whsec_[A-Za-z0-9]{24,255}"  # Stripe
    rb"|sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,255}|sk-[A-Za-z0-9]{32,255}"  # OpenAI
    rb"|sk-ant-[a-z0-9]{2,16}-[A-Za-z0-9_-]{20,255}"  # Anthropic
    rb"|npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_-]{50,1024}|hf_[A-Za-z]{34}"
    rb"|SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}|dop_v1_[a-f0-9]{64}"  # SendGrid, DigitalOcean
    rb")(?![A-Za-z0-9])"
)
_HEADERS = rb"(?:\s|\\n|\\r)*(?:[A-Za-z-]{1,30}: [^\n]{1,100}\n\s*)*"
_BEGIN = rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)?-----" + _HEADERS
_PRIVATE_KEY = re.compile(
    _BEGIN + rb"(?:[^-]{64,16384}-----END [A-Z0-9 ]{1,80}-----"
    rb"|[A-Za-z0-9+/=]{40,80}(?:\s{1,8}[A-Za-z0-9+/=]{40,80}){1,400})"  # cut off
)
_JWT = re.compile(
    rb"(eyJ[A-Za-z0-9_-]{17,1500})\.eyJ[A-Za-z0-9_-]{2,12000}\.[A-Za-z0-9_-]{16,1500}"
)
_BITCOIN = re.compile(
    rb"(?<![A-Za-z0-9])(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}"
    rb"|bc1[02-9ac-hj-np-z]{11,71}|BC1[02-9AC-HJ-NP-Z]{11,71})(?![A-Za-z0-9])"
)
_ETHEREUM = re.compile(rb"(?<![A-Za-z0-9])0[xX][0-9A-Fa-f]{40}(?![A-Za-z0-9])")


def secrets(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Private keys, JSON web tokens and issuers' tokens that begin in text[start:end] or up to five
    bytes before it."""
    if text.startswith(b"-----", start):
        key = _PRIVATE_KEY.match(text, start)
        if key:
            yield key.span()
            return
    token = _JWT.match(text, start)
    if token and is_jwt_header(token[1]):
        yield token.span()
        return
    for match in _TOKEN.finditer(text, max(0, start - 5), end + 64):
        if match.start() < end and len(set(match[0])) >= 8 + len(set(match[0][:3])):
            yield match.span()


def is_jwt_header(part: bytes) -> bool:
    """Base64 of a JSON object with `alg` (RFC 7515)."""
    try:
        header = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


def wallets(
    text: bytes, start: int, end: int, is_bitcoin: Callable[[str], bool]
) -> Iterator[tuple[int, int]]:
    """Addresses of Bitcoin and Ethereum whose checksum is right."""
    for match in _BITCOIN.finditer(text, start, end + 1):
        address = match[0].decode()
        if is_bitcoin(address.lower() if address[:3] == "BC1" else address):
            yield match.span()
    for match in _ETHEREUM.finditer(text, start, end + 1):
        if is_ethereum(match[0][2:].decode()):
            yield match.span()


def is_ethereum(address: str) -> bool:
    """40 hexadecimal digits in one case, or in the mixed case of EIP-55; ten or more different."""
    if len(set(address.lower())) < 10:
        return False
    if address in (address.lower(), address.upper()):
        return True
    digest = keccak_256(address.lower().encode()).hex()
    return all(
        c.isdigit() or c.isupper() == (int(nibble, 16) >= 8)
        for c, nibble in zip(address, digest, strict=False)
    )


def keccak_256(data: bytes) -> bytes:
    """Keccak as before the standard (the Keccak reference, section 1): hashlib's sha3_256 pads
    otherwise."""
    data += b"\x01" + bytes(-(len(data) + 2) % _RATE) + b"\x80"
    return _keccak(np.frombuffer(data, np.uint64)).tobytes()[:32]


@kernel
def _keccak(words: np.ndarray) -> np.ndarray:
    """uint64[25], the state after all blocks; lane (x, y) is at x + 5 * y."""
    a = np.zeros(25, np.uint64)
    b, c = np.zeros(25, np.uint64), np.zeros(5, np.uint64)
    for block in range(0, len(words), _RATE // 8):
        a[: _RATE // 8] ^= words[block : block + _RATE // 8]
        lfsr = 1  # the round constants come from a shift register
        for _ in range(24):
            for x in range(5):
                c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20]
            for i in range(25):
                a[i] ^= c[(i + 4) % 5] ^ _rotated(c[(i + 1) % 5], 1)
            x, y, moved = 1, 0, a[1]
            for t in range(24):
                x, y = y, (2 * x + 3 * y) % 5
                a[x + 5 * y], moved = _rotated(moved, (t + 1) * (t + 2) // 2), a[x + 5 * y]
            b[:] = a
            for i in range(25):
                row = i - i % 5
                a[i] = b[i] ^ (~b[row + (i + 1) % 5] & b[row + (i + 2) % 5])
            for j in range(7):
                lfsr = (lfsr << 1) ^ ((lfsr >> 7) * 0x171)
                if lfsr & 2:
                    a[0] ^= np.uint64(1) << np.uint64((1 << j) - 1)
    return a


@inlined
def _rotated(lane: np.uint64, n: int) -> np.uint64:
    n %= 64
    return (lane << np.uint64(n)) | (lane >> np.uint64((64 - n) % 64))
