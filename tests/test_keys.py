"""corpusmill keys: what a configuration may say, out of the dataclasses themselves."""

import dataclasses

import pytest

from pipeline.cli import main
from pipeline.keys import INNER, KINDS, render, render_names
from pipeline.sources import FORMATS
from pipeline.steps import STEPS


def test_a_step_with_its_keys_and_rules():
    lines = render("gopher_quality").splitlines()
    assert lines[0] == "gopher_quality: Is it prose of a usual length, with usual words?"
    at = lines.index("  min_mean_word_length = 3.0    float")
    assert lines[at + 1] == "      In characters, over tokens that are not punctuation."
    [rule] = [line for line in lines if "too_few_words" in line]
    assert rule.split() == (
        ["gopher_quality.too_few_words", "gopher.n_words", "below", "50,", "set", "by", "min_words"]
    )


def test_a_section_with_what_has_no_default():
    lines = render("mixture.split").splitlines()
    assert "  column = (required)    str" in lines
    assert "  when_short = \"error\"    Literal['error', 'redistribute']" in render("mixture")


@pytest.mark.parametrize("name", [*KINDS, *INNER])
def test_every_name_shows_all_of_its_keys(name):
    text = render(name)
    for field in dataclasses.fields((KINDS | INNER)[name]):
        assert f"  {field.name} = " in text
    assert " at 0x" not in text and "<class" not in text


def test_the_list_names_them_all():
    text = render_names()
    assert all(f"  {name} " in text for name in [*KINDS, *INNER, *FORMATS, *STEPS])
    assert max(map(len, text.splitlines())) <= 100


def test_a_name_that_is_none(capsys):
    assert main(["keys", "gopher_qualiti"]) == 2
    assert capsys.readouterr().err == (
        "corpusmill: gopher_qualiti: no such section, format or step. "
        "Did you mean gopher_quality?\n"
    )
