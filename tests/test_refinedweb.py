"""RefinedWeb's corrections: literal rows."""

import pyarrow as pa
import pytest

from filters.canaries import PROSE
from filters.refinedweb import RefinedWeb, refinedweb

LOOSE = RefinedWeb(max_removed_word_fraction=1.0)


def table(values: list[str | None]) -> pa.Table:
    return pa.table({"text": pa.array(values, pa.string())})


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("SIGN UP NOW", None), ("SIGN UP now", None), ("Sign Up Now", "Sign Up Now"),
        ("1 2", "1 2"), ("123", None), ("٣٤٥", None),
        ("3 likes", None), ("- 1,234 Views!", None), ("1.2k followers", None),
        ("3 likely shares", "3 likely shares"), ("likes 3", "likes 3"), ("3likes it", "3likes it"),
        ("Home", None), ("", ""), ("日本語", None),
        ("3 items in cart", "3"), ("Items in Cart", None), ("my items in cart today", "my today"),
        ("a b c d e f g h i items in cart", "a b c d e f g h i items in cart"),
        ("The story goes on Read more...", "The story goes on"),
        ("Read more... now", "Read more... now"),
        ("Sign-in to your account", "to your account"), ("To sign-in here", "To sign-in here"),
    ],
)  # fmt: skip
def test_lines(line: str, left: str | None) -> None:
    docs = refinedweb(table([f"{PROSE}\n{line}\n{PROSE}"]), LOOSE)
    kept = [PROSE, PROSE] if left is None else [PROSE, left, PROSE]
    assert docs["text"].to_pylist() == ["\n".join(kept)]


def test_a_document_that_would_lose_too_much_keeps_its_text() -> None:
    few, many = PROSE + "\nREAD THIS", PROSE + "\nREAD THIS NOW" * 2
    docs = refinedweb(table([few, many, None, "", " \n"]), RefinedWeb())
    assert docs["text"].to_pylist() == [PROSE, many, None, "", " \n"]
    rules = [None, "too_many_words_removed", "no_word", "no_word", "no_word"]
    assert docs["rule"].to_pylist() == rules
    assert docs["refinedweb.n_removed_words"].to_pylist() == [2, 6, None, 0, 0]
    n_words = docs["refinedweb.n_words"].to_pylist()[1]
    assert docs["value"].to_pylist()[1] == 6 / n_words


def test_other_line_ends_stay() -> None:
    text = PROSE.replace("\n", "\r\n\r\n")
    assert refinedweb(table([text]), RefinedWeb())["text"].to_pylist() == [text]


def test_a_mistake_in_the_config() -> None:
    with pytest.raises(ValueError, match=r"max_uppercase_fraction 2 is not within"):
        RefinedWeb(max_uppercase_fraction=2)
    with pytest.raises(ValueError, match="phrases: give ASCII"):
        RefinedWeb(phrases=("",))
