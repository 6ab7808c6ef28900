"""What a run of digits may be: an IPv4 address, a card, a social security or a phone number.

It is asked here what every match of the patterns of pii_rules.py has: groups of digits of some
lengths, Luhn's checksum, a word near it. So a table of numbers proposes nothing, and is read at the
speed of other text, and the patterns, which take 10 us and more, see few windows.
"""

import numpy as np

from filters.compiled import inlined, uncounted
from filters.keywords import Automaton, automaton

EMAIL, IPV6, IBAN, TOKEN, IPV4, CARD, SSN, PHONE = (1 << i for i in range(8))
"""Kinds of windows; one of digits may be several."""

MAX_PHONE_WINDOW = 64  # bytes; a longer run of numbers is a table
NEAR_BEFORE, NEAR_AFTER = 48, 24  # bytes, of words

PHONE_WORDS = (
    "phone answering reach message text tel mobil cell fax call dial whatsapp sms hotline tél "
    "móvil celular mobiel puhelin office home work тел Тел 电话 電話 手机 携帯 전화 هاتف फ़ोन फोन"
)
SSN_WORDS = "ssn|social|ss #|ss#"
CARD_WORDS = "card credit debit visa maestro mastercard amex cc payment"
_NEAR_PHONE, _NEAR_SSN, _NEAR_CARD = 1, 2, 4


def words_near() -> Automaton:
    """Finds the parts of words that the patterns of pii_rules.py ask for, by group."""
    lists = (PHONE_WORDS.split(), SSN_WORDS.split("|"), CARD_WORDS.split())
    phrases = tuple(word for words in lists for word in words)
    groups = tuple(i for i, words in enumerate(lists) for _ in words)
    return automaton(phrases, groups)


@uncounted
def number_kinds(data, low, high, left, first, right, table, byte_class, groups):
    """What data[left:right] may be, with its first digit at `first` and its last before `right`, in
    the text data[low:high]. table, byte_class and groups are those of `words_near`."""
    if left == first > low and _is_word(data[first - 1]):
        at = first
        while at < right and 48 <= data[at] <= 57:
            at += 1
        if at == right:
            return 0  # the end of a word or of a name
    kinds, is_phone, is_nine, is_short_card = 0, False, False, False
    for at in range(left, first):
        is_phone |= data[at] == 43  # +
    may_be_date = data[left] != 43
    n_octets = one = two = three = 0  # one: the length of the group before, two: before that, ...
    lead_one = lead_two = 0  # and their first digits
    at = first
    while at < right:
        start = at
        if may_be_date:
            at = _date_end(data, first, start, right)
            if at > start:
                n_octets = one = two = three = 0
                at = _next_digit(data, at, right)
                continue
        may_be_date = False  # only dates at the start are left out: what else may be one is not
        value = 0
        while at < right and 48 <= data[at] <= 57:
            value = min(10 * value + data[at] - 48, 256)
            at += 1
        length = at - start
        pointed = start - 2 >= first and data[start - 1] == 46 and 48 <= data[start - 2] <= 57
        n_octets = 0 if value > 255 or length > 3 else n_octets + 1 if pointed else 1
        if n_octets >= 4:
            kinds |= IPV4
        if three == two == one == length == 4 or (two == 4 and one == 6 and 4 <= length <= 5):
            kinds |= CARD
        elif 12 <= length <= 19 and _luhn(data, start, at):
            kinds |= CARD if length >= 14 else 0
            is_short_card |= length < 14
        if two == 3 and one == 2 and length == 4:
            kinds |= SSN
        is_nine |= length == 9
        at = _next_digit(data, at, right)
        if two == 3 and one == 3 and length == 4 and lead_two >= 50:
            is_phone = True
        if data[start] == 48 and 2 <= length <= 5 and not pointed and right - at >= 6:
            is_phone = True
        three, two, one = two, one, length
        lead_two, lead_one = lead_one, data[start]
    near = 0
    if is_nine or is_short_card or not is_phone:
        near = _near(data, max(low, left - NEAR_BEFORE), left, table, byte_class, groups)
        near |= _near(data, right, min(high, right + NEAR_AFTER), table, byte_class, groups)
    if is_short_card and near & _NEAR_CARD:
        kinds |= CARD
    if is_nine and near & _NEAR_SSN:
        kinds |= SSN
    if (is_phone or near & _NEAR_PHONE) and right - left <= MAX_PHONE_WINDOW:
        kinds |= PHONE
    return kinds


@uncounted
def _date_end(data, first, start, right):
    """Where a date such as 31.12.2024 or 1/2/99 ends that starts at the digit at `start`; `start`
    if none does."""
    if start > first and 45 <= data[start - 1] <= 47:
        return start
    at = start
    for _ in range(2):
        n = 0
        while at < right and 48 <= data[at] <= 57:
            n += 1
            at += 1
        if n > 2 or at >= right or not 45 <= data[at] <= 47:  # - . /
            return start
        at += 2 if at + 1 < right and data[at + 1] == 32 else 1
        if at >= right or not 48 <= data[at] <= 57:
            return start
    year = at
    while at < right and 48 <= data[at] <= 57:
        at += 1
    century = data[year] == 49 or (data[year] == 50 and data[year + 1] == 48)
    if not (at - year == 2 or (at - year == 4 and century)):
        return start
    return start if at < right and 45 <= data[at] <= 47 else at


@inlined
def _is_word(byte):
    return 48 <= byte <= 57 or 97 <= byte | 0x20 <= 122 or byte == 95


@inlined
def _next_digit(data, at, right):
    while at < right and not 48 <= data[at] <= 57:
        at += 1
    return at


@uncounted
def _luhn(data, start, end):
    total = np.int64(0)
    for i in range(end - start):
        digit = np.int64(data[end - 1 - i]) - np.int64(48)
        if i % 2:
            digit = 2 * digit - (9 if digit > 4 else 0)
        total += digit
    return total % 10 == 0


@uncounted
def _near(data, start, end, table, byte_class, groups):
    state = near = has_letters = 0
    for at in range(start, end):  # lists of numbers have none, and this loop is eight times faster
        has_letters |= data[at] >= 65
    if not has_letters:
        return near
    for at in range(start, end):
        state = table[state, byte_class[data[at]]]
        near |= groups[state]
    return near
