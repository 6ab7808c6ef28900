"""pipeline/extract/mojibake.py against the pattern that it counts."""

import re

from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.mojibake import mojibake


def test_mojibake():
    for text, n in [
        ("Itâ€™s a cafÃ©", 2),
        ("Ð¿Ñ€Ð¸Ð²ÐµÑ‚", 3),  # six characters, by twos
        ("æ—¥æœ¬", 2),
        ("a\ufffdb", 1),
        ("锟斤拷", 1),
        ("CAFÉ» – «ÉTÉ» – Ça va, déjà vu, Straße", 0),
        ("日本語 한국어 العربية Привет", 0),
        ("plain", 0),
        ("", 0),
        ("â€", 0),
        ("Â", 0),
    ]:
        assert mojibake(text) == n, text


_CONTINUING = bytes(range(0x80, 0xC0)).decode("cp1252", "replace").replace("\ufffd", "")
_CONTINUING += "\x81\x8d\x8f\x90\x9d"
_SLOW = re.compile(
    f"[ÂÃ][{_CONTINUING}]|(?:[Ä-ß][{_CONTINUING}]){{2}}|[à-ï][{_CONTINUING}]{{2}}"
    f"|[ð-ô][{_CONTINUING}]{{3}}|\ufffd|锟斤拷"
)


@given(st.text(alphabet="ÂÃÄÉßàïðôõ©€™\x81\x9d\xbf\xa0\xc0a锟斤拷\ufffd\U0001f600", max_size=40))
def test_mojibake_is_the_pattern(text):
    assert mojibake(text) == len(_SLOW.findall(text))
