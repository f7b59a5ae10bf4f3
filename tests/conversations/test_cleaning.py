"""Text at the doors: nothing that a database refuses, and nothing lost that is text."""

import random
import time
import unicodedata
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.actions import title_words
from conversations.cleaning import (
    MOST_COMBINING,
    TooLong,
    clean_delta,
    clean_limited,
    clean_line,
    clean_text,
)

ANY = st.text(st.characters() | st.sampled_from("\x00\x07\r\n\t\x7f\ud800\udfff\u2028e\u0301 "))


@given(ANY)
def test_what_is_cleaned_can_be_stored_and_is_clean(text: str) -> None:
    for clean in (clean_delta, clean_text):
        cleaned = clean(text)
        assert "\x00" not in cleaned
        cleaned.encode()
        assert clean(cleaned) == cleaned


@given(ANY, st.integers())
def test_cleaning_pieces_equals_cleaning_the_whole(text: str, seed: int) -> None:
    choose = random.Random(seed)
    pieces, at = [], 0
    while at < len(text):
        size = choose.randint(1, 5)
        pieces.append(text[at : at + size])
        at += size
    assert "".join(map(clean_delta, pieces)) == clean_delta(text)


def test_a_models_text_keeps_its_white_space_and_line_ends() -> None:
    assert clean_delta("\r\n a\tb \u2028\u00a0é e\u0301\n") == "\r\n a\tb \u2028\u00a0é e\u0301\n"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  a  ", "a"),
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("\n\n a\n\nb \n", "a\n\nb"),
        ("cafe\u0301", "café"),
        ("a\x00\x08\x0b\x1f\x7fb", "ab"),
        ("👩‍👩‍👧 🎈", "👩‍👩‍👧 🎈"),
        ("\ud800x\udfff", "x"),
        (" \x00 ", ""),
    ],
)
def test_a_persons_text(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned
    assert unicodedata.is_normalized("NFC", clean_text(text))


def test_a_line_is_one_line_of_at_most_its_length() -> None:
    assert clean_line(" a\n\tb \u2028 c ", 80) == "a b c"
    assert clean_line("abc def", 4) == "abc"
    assert clean_line("abc def", 5) == "abc d"


def test_a_limit_is_one_for_the_cleaned_text_and_looked_at_before_cleaning() -> None:
    for text in ("é" * 100, "e\u0301" * 100, "\r\n" * 99 + "xx", f" {'x' * 100} "):
        assert len(clean_limited(text, 100)) <= 100
    for text in ("é" * 101, "e\u0301" * 101, "x" + " " * 1000):
        with pytest.raises(TooLong):
            clean_limited(text, 100)


# Rows of combining characters, which normalizing sorts: U+0315 comes after U+0300.

MARKS = "\u0315\u0300"


def seconds(clean: Callable[[str], object], text: str) -> float:
    """What it costs this thread, at the best of three."""
    times = []
    for _ in range(3):
        started = time.thread_time()
        clean(text)
        times.append(time.thread_time() - started)
    return min(times)


def test_a_long_row_costs_no_more_than_many_short_ones() -> None:
    count = 40_000
    short = seconds(clean_text, ("a" + MARKS * 10) * (count // 20))
    for row in ("a" + MARKS * (count // 2), "\x00".join(MARKS) * (count // 2), "\u0f73" * count):
        assert seconds(clean_text, row) < 10 * short


@pytest.mark.parametrize("line", [partial(clean_line, length=80), title_words])
def test_a_line_costs_what_is_kept_of_it(line: Callable[[str], str]) -> None:
    row = "a" + MARKS * 5_000
    assert seconds(line, row * 100) < 10 * seconds(line, row)


@pytest.mark.parametrize("start", ["a", "é", "\u1f82", "\u0958", "", "👩‍"])
@pytest.mark.parametrize("mark", ["\u0301", MARKS, "\u0344", "\u0f73", "\u20d0"])
def test_of_a_long_row_everything_is_kept(start: str, mark: str) -> None:
    text = f"{start}{mark * 100}b {start}{mark * 5}"
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned
    rest = unicodedata.normalize("NFD", cleaned)
    rows = "".join("M" if unicodedata.combining(char) else " " for char in rest).split()
    assert max(map(len, rows)) <= MOST_COMBINING
    kept = sorted(rest.replace("\u034f", ""))
    assert kept == sorted(unicodedata.normalize("NFD", text))
