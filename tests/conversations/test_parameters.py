"""The form of a conversation's parameters: what is taken, what is said of the rest."""

from typing import Any

import pytest

from conversations import parameters
from conversations.parameters import read


def test_an_empty_form_sets_nothing() -> None:
    for form in ({}, dict.fromkeys(parameters.NAMES, ""), {"temperature": "  "}):
        found = read(form)
        assert found.valid
        assert (found.system_prompt, found.values) == ("", {})


def test_everything_at_once() -> None:
    found = read(
        {
            "system_prompt": "  Be brief.\r\n",
            "temperature": "0.7",
            "top_p": " 0,9 ",
            "max_tokens": "500",
            "stop": "END\r\n\r\n STOP ",
            "n": "3",
        }
    )
    assert found.valid
    assert found.system_prompt == "Be brief."
    assert found.values == {
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 500,
        "stop": ["END", "STOP"],
        "n": 3,
    }


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "temperature",
            ["0", "2", "1.5", "0,5"],
            ["-0.1", "2.01", "nan", "inf", "1e999", "x", "--"],
        ),
        ("top_p", ["0", "1", ".5"], ["-1", "1.1", "nan", "½"]),
        (
            "max_tokens",
            ["1", "1000000"],
            ["0", "-1", "1000001", "1.5", "1e3", "9" * 5000, "٣", "x"],
        ),
        ("n", ["2", "4"], ["0", "5", "two", "2.0"]),
        (
            "stop",
            ["a", "a\nb\n\nc\n \nd\n", "x" * 100],
            ["a\nb\nc\nd\ne", "x" * 101, "x" + "\x00" * 400],
        ),
        ("system_prompt", ["x" * 16_000], ["x" * 16_001, "x" + " " * 64_000]),
    ],
)
def test_limits(name: str, good: list[str], bad: list[str]) -> None:
    for text in good:
        found = read({name: text})
        assert found.valid, (text, found.errors)
        assert found.system_prompt or name in found.values
    for text in bad:
        found = read({name: text})
        assert list(found.errors) == [name], text[:20]
        assert name not in found.values
        assert found.typed[name] == text  # shown again as it was typed
        assert "%" not in found.errors[name]


def test_one_answer_is_the_default_and_not_stored() -> None:
    assert read({"n": "1"}).values == {}


def test_one_wrong_field_keeps_the_others() -> None:
    found = read({"temperature": "hot", "n": "2", "max_tokens": "many"})
    assert set(found.errors) == {"temperature", "max_tokens"}
    assert found.values == {"n": 2}


def test_controls_are_cleaned_away() -> None:
    found = read({"system_prompt": "a\x00b", "stop": "\x00\nE\x00ND"})
    assert found.system_prompt == "ab"
    assert found.values["stop"] == ["END"]


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"temperature": "0.7", "n": "3"},
        {"system_prompt": "A\nB", "top_p": "0.25", "max_tokens": "7", "stop": "a\nb", "n": "4"},
    ],
)
def test_what_is_stored_is_shown_as_it_can_be_read_again(form: dict[str, str]) -> None:
    found = read(form)
    again = read(parameters.typed(found.system_prompt, found.values))
    assert (again.system_prompt, again.values) == (found.system_prompt, found.values)


@pytest.mark.parametrize(
    ("system_prompt", "values", "line"),
    [
        ("", {}, "Parameters"),
        ("x", {}, "System prompt"),
        ("", {"temperature": 0.7, "n": 2}, "Temperature 0.7 · 2 answers"),
        ("", {"top_p": 0.5, "max_tokens": 9}, "Top p 0.5 · At most 9 tokens"),
        ("", {"stop": ["a"]}, "1 stop word"),
        ("", {"stop": ["a", "b"]}, "2 stop words"),
    ],
)
def test_the_summary_is_one_line(system_prompt: str, values: dict[str, Any], line: str) -> None:
    assert parameters.summary(system_prompt, values) == line
