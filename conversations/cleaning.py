"""Clean text at every door: what a person types, what a model answers, what a program posts.

The time this takes grows with the text's length and no faster, whatever is in it.
"""

import re
import unicodedata

# NUL: PostgreSQL refuses it, SQLite stores it. The other C0 controls but tab, LF, CR have no
# meaning in a message. Lone surrogates cannot be encoded for either database.
_UNWANTED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

# Where many combining characters may stand in a row, with the letter before them: none is a \w.
# Shorter rows stay below MOST_COMBINING, also if each stands for two.
_ROW = re.compile(r".?[^\w\x00-\u02ff]{10,}", re.DOTALL)
MOST_COMBINING = 30  # in a row: Unicode's Stream-Safe Text Format (UAX #15, 13)
_JOINER = "\N{COMBINING GRAPHEME JOINER}"

# Cleaning makes a text shorter: line ends of two characters, letters written in up to four.
_MOST_SHORTENED = 4
# A line's white space may be shortened more than that.
_MOST_SHORTENED_LINE = 10


class TooLong(Exception):
    """The text has more characters than it may have."""


def clean_delta(text: str) -> str:
    """A piece of a model's text without what cannot be stored.

    Works character by character, so that cleaning pieces equals cleaning the whole.
    """
    return _UNWANTED.sub("", text)


def clean_text(text: str) -> str:
    """A person's text: also with LF line ends, in NFC, without white space at both ends."""
    text = clean_delta(text.replace("\r\n", "\n").replace("\r", "\n"))
    return unicodedata.normalize("NFC", _ROW.sub(_break_row, text)).strip()


def clean_limited(text: str, length: int) -> str:
    """`clean_text` of what has at most `length` characters then. Raises TooLong."""
    if len(text) > _MOST_SHORTENED * length:
        raise TooLong
    cleaned = clean_text(text)
    if len(cleaned) > length:
        raise TooLong
    return cleaned


def clean_line(text: str, length: int) -> str:
    """One line of at most `length` characters: a title, a name."""
    text = text.lstrip()[: _MOST_SHORTENED_LINE * length]
    return " ".join(clean_text(text).split())[:length].strip()


def _break_row(row: re.Match[str]) -> str:
    """The row with a joiner wherever too many combining characters would follow each other.

    Normalizing sorts each such row in a time that grows with the square of its length: 160,000 in
    one row take 5 seconds and more, in which nothing else in this process runs.
    """
    pieces, count = [], 0
    for char in row[0]:
        parts = [unicodedata.combining(part) for part in unicodedata.normalize("NFD", char)]
        combining = sum(map(bool, parts))
        if not parts[0]:  # a letter, which may itself stand for a letter with such characters
            count = combining
        elif count + combining > MOST_COMBINING:
            pieces.append(_JOINER)
            count = combining
        else:
            count += combining
        pieces.append(char)
    return "".join(pieces)
