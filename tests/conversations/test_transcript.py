"""What stands beside a message's text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.transcript import FOLDED_CHARS, indented, is_long, tool_calls

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@given(JSON)
def test_indenting_changes_nothing_but_the_look(value: object) -> None:
    assert indented(json.dumps(value)) == json.dumps(value, indent=2)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        pytest.param('{"a":[]}', '{\n  "a": []\n}', id="empty list"),
        pytest.param('{"a":1e400, "a":1.00}', '{\n  "a": 1e400,\n  "a": 1.00\n}', id="as written"),
        pytest.param(r'["\u00fc{,"]', '[\n  "\\u00fc{,"\n]', id="text in strings"),
        pytest.param('{"city": "Os', '{"city": "Os', id="cut"),
        pytest.param("plain words", "plain words", id="no JSON"),
        pytest.param("", "", id="empty"),
        pytest.param("[" * 40 + "]" * 40, "[" * 40 + "]" * 40, id="deep"),
        pytest.param("[" * 9000 + "]" * 9000, "[" * 9000 + "]" * 9000, id="very deep"),
        pytest.param("9" * 5000, "9" * 5000, id="a long number"),
        pytest.param(f"[{'1,' * 12_000}1]", f"[{'1,' * 12_000}1]", id="long"),
    ],
)
def test_what_is_shown_of_arguments(source: str, shown: str) -> None:
    [call] = tool_calls({"tool_calls": [{"id": "a", "name": "f", "arguments": source}]})
    assert (call.name, call.arguments) == ("f", shown)


@pytest.mark.parametrize(
    ("text", "long"),
    [("word", False), ("\n" * 11, False), ("\n" * 12, True), ("x" * (FOLDED_CHARS + 1), True)],
    ids=["word", "12 lines", "13 lines", "characters"],
)
def test_what_is_folded(text: str, long: bool) -> None:
    assert is_long(text) is long
