"""Judges a window: is it an e-mail address, an IP address, a bank account, a card, a social
security or a phone number?

Checksums and registers decide where there are any (Luhn and issuers' ranges, ISO 13616, the public
suffixes, the numbering plans); elsewhere the form, or a word near it. Presidio judges bank
accounts, social security numbers and Bitcoin addresses.
"""

import functools
import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import phonenumbers
import tldextract

from filters.pii_numbers import (
    CARD,
    EMAIL,
    IBAN,
    IPV4,
    IPV6,
    MAX_PHONE_WINDOW,
    PHONE,
    SSN,
    TOKEN,
)
from filters.pii_secrets import secrets, wallets

if TYPE_CHECKING:
    from presidio_analyzer.predefined_recognizers import (
        CryptoRecognizer,
        IbanRecognizer,
        UsSsnRecognizer,
    )

BEFORE_BYTES, AFTER_BYTES = 64, 24  # of context around a window
_REGIONS = ("US", "GB", "DE", "FR", "IN", "BR", "IL", "CA")


class Window(NamedTuple):
    """`context[start:end]` is the window; `offset` is the context's place in the text, in bytes."""

    context: str
    start: int
    end: int
    offset: int

    def near(self, before: int, after: int = 0) -> str:
        """The words around the window, in lower case."""
        left = self.context[max(0, self.start - before) : self.start]
        return f"{left} {self.context[self.end : self.end + after]}".lower()


class Span(NamedTuple):
    """Bytes of a text that are personal data."""

    start: int
    end: int
    entity: str


# Separators that take two or three bytes, as Latin-1 shows them; they become ASCII of the same
# length.
_WIDE = re.compile("\xc2\xa0|\xe2\x80\xaf|\xe2\x80[\x90-\x94]")


def _latin(words: str) -> str:
    """Words as Latin-1 shows their UTF-8, in lower case as `Window.near` gives them."""
    return words.encode().decode("latin-1").lower()


_EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9])"
)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)", re.ASCII)
_VERSION = re.compile(r"(?:\b(?:v|ver|version|release|build|section|chapter)[.: ]*|[a-z0-9]/)$")
_CARD = re.compile(
    r"(?<![\w.-])(?:\d{12,19}"
    r"|\d{4}([ -]) {0,2}\d{4}(?:\1 {0,2}\d{4}){2}(?:\1 {0,2}\d{3})?"
    r"|\d{4}([ -]) {0,2}\d{6}\2 {0,2}\d{4,5})(?![\w-]|\.\d)",
    re.ASCII,
)
_CARD_WORDS = re.compile(r"card|credit|debit|visa|maestro|mastercard|amex|\bcc\b|payment")
_SSN = re.compile(
    r"(?<![\w.-])(?!9)\d{3}(?:([- .]) {0,2}\d{2}\1 {0,2}|\d{2})\d{4}(?![\w-]|\.\d)", re.ASCII
)
_SSN_WORDS = re.compile(r"\bssns?\b|social.?security|\bss ?#")
_PHONE_WORDS = re.compile(
    r"phone|\b(?:answering|reach\w*(?: \w+)?) (?:at|on)\b|\b(?:messages?|texts?) to\b|\b(?:"
    + _latin("tel|mobile|cell|fax|calls?|called|calling|dial|whatsapp|sms|hotline|telefon|telefax")
    + _latin("|tél|téléphone|teléfono|telefono|móvil|celular|cellulare|telefone")
    + _latin("|telemóvel|telefoon|mobiel|puhelin|mobil|telefonu")
    + r")\b|"
    + _latin("тел|Тел|电话|電話|手机|携帯|전화|هاتف|फ़ोन|फोन")
)
_PHONE_LABEL = re.compile(r"[\s\\,;:()-]*(?:office|home|work)\b", re.IGNORECASE)  # after the number
# A form that is a phone number's without a word near it: +CC, 3-3-4 as in North America, a trunk 0
# and groups (but not the decimals of 0.05).
_PHONE_FORM = re.compile(
    r"\+|\(?\b[2-9]\d\d(?:\) ?|[-. ]{1,3})\d{3}[-. ]{1,3}\d{4}\b"
    r"|(?<!\d\.)\(?\b0\d{1,4}\)?[-. /]\d[-. /\d]{5,}",
    re.ASCII,
)
_ANY_PHONE = re.compile(
    r"(?<![\w.,$%#/\xa3\xac-])\+?\(?\d(?:[-. ()/]{0,3}\d){6,14}"
    r"(?: ?(?:x|ext\.?) ?\d{1,6})?(?![\w%]|[.,/-]\d)",
    re.ASCII,
)
_MORE_DIGITS = re.compile(r"[- ]\d{3}", re.ASCII)
_INTERNATIONAL = re.compile(r"\+\(?[1-9](?:\D*\d){8}", re.ASCII)  # E.164
_DATE = re.compile(
    r"(?<![-./\d])(?:(?:1[0-9]|20)\d\d *[-./ ] *(?:0?\d|1[0-2])\b"  # 2024-05
    r"|\d\d?[-./] ?\d\d?[-./] ?(?:(?:1[0-9]|20)\d\d|\d\d)(?![-./\d])"  # 31.12.2024
    r"|(?:1[0-9]|20)\d\d(?: *[-/] *(?:1[0-9]|20)?| (?:1[0-9]|20))\d\d\b)"  # 1914-18
)


_ENTITY = {
    EMAIL: "email", IPV4: "ip", IPV6: "ip", IBAN: "iban", CARD: "card", SSN: "ssn", PHONE: "phone"
}  # fmt: skip


def kinds_of(entities: Iterable[str]) -> int:
    """The kinds of windows that may hold one of the entities."""
    chosen = set(entities)
    kinds = sum(kind for kind, entity in _ENTITY.items() if entity in chosen)
    return kinds | (TOKEN if chosen & {"secret", "crypto"} else 0)


def judge(
    text: bytes, start: int, end: int, kinds: int, entities: frozenset[str], private_ips: bool
) -> Iterator[Span]:
    """What of the wanted entities a window holds; spans of two entities may overlap.

    text: UTF-8; start, end: the window's bytes. Latin-1 makes one character of each byte, so that
    places stay bytes.
    """
    if kinds == TOKEN:
        if "secret" in entities:
            yield from (Span(*span, "secret") for span in secrets(text, start, end))
        if "crypto" in entities:
            is_bitcoin = _presidio().crypto.validate_result
            yield from (Span(*span, "crypto") for span in wallets(text, start, end, is_bitcoin))
        return
    offset = max(0, start - BEFORE_BYTES)
    context = text[offset : end + AFTER_BYTES].decode("latin-1")
    context = _WIDE.sub(_ascii_separator, context)
    window = Window(context, start - offset, end - offset, offset)
    rules: dict[int, Any] = {
        EMAIL: emails,
        IPV4: functools.partial(ipv4, private=private_ips),
        IPV6: functools.partial(ipv6, private=private_ips),
        IBAN: ibans,
        CARD: cards,
        SSN: ssns,
        PHONE: phones,
    }
    for flag, rule in rules.items():
        if kinds & flag and _ENTITY[flag] in entities:
            for left, right in rule(window):
                yield Span(offset + left, offset + right, _ENTITY[flag])


def emails(window: Window) -> Iterator[tuple[int, int]]:
    """RFC 5321's dot-atom form under a public suffix, so that `icon@2x.png` is none."""
    for match in _EMAIL.finditer(window.context, window.start, window.end):
        if _suffixes()(match[1]).suffix:
            yield match.span()


def ipv4(window: Window, private: bool = False) -> Iterator[tuple[int, int]]:
    """Four numbers up to 255 that are not a version's or a section's; of a public network unless
    `private`."""
    for match in _matches(_IPV4, window):
        try:
            address = ipaddress.IPv4Address(match[0])
        except ValueError:
            continue
        left = window.context[max(0, match.start() - 12) : match.start()].lower()
        if (private or address.is_global) and not _VERSION.search(left):
            yield match.span()


def ipv6(window: Window, private: bool = False) -> Iterator[tuple[int, int]]:
    """Eight groups, or a shortened address in 2000::/3, which is all that is routed (`a::b` is
    code)."""
    start, end, context = window.start, window.end, window.context
    while end > start and context[end - 1] in ".:" and not context[:end].endswith("::"):
        end -= 1
    outside = context[max(0, start - 1) : start] + context[end : end + 1]
    if any(c.isalnum() or c in "_:" for c in outside):
        return
    try:
        address = ipaddress.IPv6Address(context[start:end])
    except ValueError:
        return
    routed = context[start:end].count(":") == 7 or int(address) >> 125 == 1
    if (routed and not (address.is_private or address.is_multicast)) or (private and routed):
        yield start, end


def ibans(window: Window) -> Iterator[tuple[int, int]]:
    """A country's length and form, and the checksum modulo 97."""
    for found in _presidio().iban.analyze(window.context[window.start : window.end], ["IBAN_CODE"]):
        yield window.start + found.start, window.start + found.end


def cards(window: Window) -> Iterator[tuple[int, int]]:
    """Luhn's checksum, which one number in ten passes, and either an issuer's prefix and length or
    a word near it."""
    for match in _matches(_CARD, window):
        digits = re.sub(r"\D", "", match[0])
        if luhn(digits) and (issued(digits) or _CARD_WORDS.search(window.near(48, 24))):
            yield match.span()


def luhn(digits: str) -> bool:
    """The checksum of ISO/IEC 7812."""
    double = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    return (sum(map(int, digits[-1::-2])) + sum(double[int(d)] for d in digits[-2::-2])) % 10 == 0


def issued(digits: str) -> bool:
    """A length that the issuer of the prefix uses; none of 12 or 13 digits, which articles and
    parcels have too."""
    n, four = len(digits), int(digits[:4])
    if digits[0] == "4":
        return n in (16, 19)  # Visa
    if 5100 <= four < 5600 or 2221 <= four <= 2720:
        return n == 16  # Mastercard
    if digits[:2] in ("34", "37"):
        return n == 15  # American Express
    if digits[:2] in ("36", "38", "39") or 3000 <= four < 3060:
        return 14 <= n <= 19  # Diners Club
    if four in (1800, 2131):
        return n == 15  # JCB
    if 3528 <= four < 3590:
        return 16 <= n <= 19  # JCB
    if digits[:2] in ("50", "56", "57", "58") or digits[0] == "6":
        return n >= 16  # Maestro, Discover, UnionPay
    return False


def ssns(window: Window) -> Iterator[tuple[int, int]]:
    """123-45-6789 in a range that was issued; with other separators or none, only after a word for
    it."""
    for match in _matches(_SSN, window):
        if not _presidio().ssn.invalidate_result(re.sub(" +", " ", match[0])) and (
            match[1] == "-" or _SSN_WORDS.search(window.near(48))
        ):
            yield match.span()


def phones(window: Window) -> Iterator[tuple[int, int]]:
    """A number of some country's plan (libphonenumber) that has the form; or, after a plus or with
    a word near it, any seven to fifteen digits that are no date."""
    start, end, context = window.start, window.end, window.context
    if end - start > MAX_PHONE_WINDOW:
        return
    if context[start] != "+":
        inside = _DATE.sub(lambda date: "x" * len(date[0]), context[start:end])
        context = context[:start] + inside + context[end:]
        window = window._replace(context=context)
    named = _PHONE_WORDS.search(window.near(40, 12)) or _PHONE_LABEL.match(context, end)
    if not named and not _PHONE_FORM.search(context, start, end):
        return
    for match in _matches(_ANY_PHONE, window):
        cut = _MORE_DIGITS.match(context, match.end())  # of a longer number: 4973 0616 5296|2619
        if named or _INTERNATIONAL.match(match[0]) or (not cut and is_in_a_plan(match[0])):
            left, right = match.span()
            unclosed = context[left] == "(" and ")" not in context[left:right]
            yield left + unclosed, right


@functools.lru_cache(10_000)
def is_in_a_plan(number: str) -> bool:
    """A valid number, as it is dialled in one of the countries that presidio tries.

    20 to 100 us; presidio's recognizer looks for numbers in the text again for each country, which
    takes 300 to 700: a page of nothing but phone numbers would be read at .03 MB/s.
    """
    for region in _REGIONS:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(number, region)):
                return True
        except phonenumbers.NumberParseException:
            pass
    return False


def _matches(pattern: re.Pattern[str], window: Window) -> Iterator[re.Match[str]]:
    """Matches that start in the window; the pattern sees what is before and after."""
    for match in pattern.finditer(window.context, window.start):
        if match.start() >= window.end:
            return
        yield match


def _ascii_separator(match: re.Match[str]) -> str:
    wide = match[0]
    return "  " if len(wide) == 2 else "   " if wide[2] == "\xaf" else "-  "


class Presidio(NamedTuple):
    """The recognizers that are asked; none of them opens a connection."""

    crypto: "CryptoRecognizer"
    iban: "IbanRecognizer"
    ssn: "UsSsnRecognizer"


@functools.cache
def _presidio() -> Presidio:
    # Imported on first use: presidio brings spaCy, which takes 3 s, and the command line reads
    # every step's config.
    from presidio_analyzer import predefined_recognizers as known

    iban = known.IbanRecognizer(regex_flags=re.DOTALL | re.MULTILINE | re.IGNORECASE)
    return Presidio(known.CryptoRecognizer(), iban, known.UsSsnRecognizer())


@functools.cache
def _suffixes() -> tldextract.TLDExtract:
    """The public suffix list inside the package: tldextract would fetch a newer one from the
    network."""
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
