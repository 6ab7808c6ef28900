"""pipeline/extract/spelling.py: which of two readings is spelt as a language spells."""

import pytest

from pipeline.extract.spelling import alphabet_shares, word_share


@pytest.mark.parametrize(
    ("text", "codec", "label"),
    [
        ("Tous les êtres humains sont doués", "cp1252", "iso8859-2"),  # ętres, doués
        ("Všichni lidé rodí se svobodní, věc, řeč", "cp1250", "cp1252"),  # vìc, øeè
        ("Bütün insanlar eşit doğar", "cp1254", "cp1252"),  # eþit, doðar
        ("ÉGALITÉ À TOUS, FORÊT", "cp1252", "iso8859-2"),
    ],
)
def test_the_right_reading_is_in_one_alphabet(text, codec, label):
    wrong = text.encode(codec).decode(label)
    assert wrong != text
    ours, theirs = alphabet_shares(text, wrong)
    assert ours == 1.0 > theirs
    assert alphabet_shares(wrong, text) == (theirs, ours)


def test_alphabets_say_nothing_of_other_scripts_or_of_ascii():
    assert alphabet_shares("USB接口", "USB½Ó¿Ú") == (0.0, 0.0)
    assert alphabet_shares("CafÐ¹", "Café Мир") == (0.0, 0.0)
    assert alphabet_shares("", "plain") == (1.0, 1.0)
    assert alphabet_shares("a±b", "á") == (0.0, 1.0)  # a sign in a word


def test_words():
    assert word_share("Café Größe Мир") == word_share("plain") == 1.0
    assert word_share("Caf茅 Gr枚脽e") == 0.0
    assert word_share("ÐŸÑ€Ð¸") < 0.5
