"""Each case of the table goes through the reader whole, byte by byte, and cut at random places."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from completions.codec import decode_chunk, decode_json, decode_usual
from completions.errors import CompletionError
from completions.reader import AnswerReader
from completions.refusals import find_complaint
from completions.sse import EventSplitter
from completions.types import CompletionChunk, Delta
from tests.completions.dialects import (
    ANY,
    Call,
    Case,
    errors,
    event,
    failures,
    gateways,
    hosted,
    local,
    reasoning,
    tools,
    wire,
)

CASES: list[Case] = [
    case
    for table in (hosted, local, gateways, tools, reasoning, errors, wire, failures)
    for case in table.CASES
]


@dataclass
class Result:
    chunks: list[CompletionChunk]
    error: CompletionError | None = None


def read(case: Case, pieces: Iterable[bytes]) -> Result:
    reader = AnswerReader(case.n, case.limits)
    result = Result([])
    try:
        for piece in pieces:
            for each in reader.feed(piece):  # one by one: what comes before an error counts
                result.chunks.append(each)
            if reader.done:
                return result
        for each in reader.finish():
            result.chunks.append(each)
    except CompletionError as error:
        result.error = error
    assert result.error or reader.done
    return result


class Read:
    """What the chunks of an answer come to, by choice."""

    def __init__(self, chunks: list[CompletionChunk]) -> None:
        self.texts: dict[int, str] = {}
        self.reasonings: dict[int, str] = {}
        self.finishes: dict[int, str | None] = {}
        self.calls: dict[int, list[Call]] = {}
        for each in chunks:
            assert each.deltas or each.usage
            for delta in each.deltas:
                assert delta.text or delta.reasoning or delta.finish_reason or delta.tool_calls
                self.add(delta)

    def add(self, delta: Delta) -> None:
        index = delta.index
        if delta.text:
            self.texts[index] = self.texts.get(index, "") + delta.text
        if delta.reasoning:
            self.reasonings[index] = self.reasonings.get(index, "") + delta.reasoning
        if delta.finish_reason:
            assert index not in self.finishes, "a second finish_reason"
            self.finishes[index] = delta.finish_reason
        calls = self.calls.setdefault(index, []) if delta.tool_calls else []
        for part in delta.tool_calls:
            assert part.id or part.name or part.arguments
            if part.index == len(calls):
                assert part.id, "a call without an id"
                calls.append((part.id, part.name, part.arguments))
                continue
            id, name, arguments = calls[part.index]
            assert not part.id, "a second id"
            assert not (name and part.name), "a second name"
            calls[part.index] = (id, name + part.name, arguments + part.arguments)


def by_choice(value: Any) -> dict[int, Any]:
    found = value if isinstance(value, dict) else {0: value}
    return {index: each for index, each in found.items() if each}


def check(case: Case, result: Result) -> None:
    got = Read(result.chunks)
    assert got.texts == by_choice(case.text)
    assert got.reasonings == by_choice(case.reasoning)
    assert got.finishes == by_choice(case.finish)
    tools = by_choice(case.tools)
    assert got.calls.keys() == tools.keys()
    for index, calls in got.calls.items():
        assert [call[1:] for call in calls] == [call[1:] for call in tools[index]]
        for (id, *_), (expected, *_) in zip(calls, tools[index], strict=True):
            assert id == expected or (expected == ANY and id.startswith(ANY) and len(id) > 20)
    usages = [each.usage for each in result.chunks if each.usage]
    assert (usages[-1] if usages else None) == case.usage
    assert (result.error.code if result.error else None) == case.error
    if case.words:
        assert result.error is not None
        assert result.error.provider_words == case.words


by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def test_the_table_has_no_name_twice() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 130


@by_name
def test_in_one_piece(case: Case) -> None:
    check(case, read(case, [case.body]))


@by_name
def test_byte_by_byte(case: Case) -> None:
    check(case, read(case, (case.body[i : i + 1] for i in range(len(case.body)))))


@settings(max_examples=100, deadline=None)
@given(case=st.sampled_from(CASES), data=st.data())
def test_in_any_cut(case: Case, data: st.DataObject) -> None:
    place = st.integers(0, len(case.body))
    cuts = sorted(data.draw(st.lists(place, max_size=4)))
    edges = [0, *cuts, len(case.body)]
    check(case, read(case, [case.body[a:b] for a, b in pairwise(edges)]))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"data: ", b"{", b"[", b"<", b"error:"]))
def test_whatever_comes_only_our_errors_are_raised(garbage: bytes, start: bytes) -> None:
    case = Case("garbage", start + garbage)
    read(case, [case.body])


FIELDS = ["choices", "delta", "index", "content", "usage", "error", "message", "type", "text"]
FIELDS += ["finish_reason", "prompt_tokens", "thinking", "reasoning", "code", "detail"]
FIELDS += ["tool_calls", "function_call", "function", "id", "name", "arguments", "param"]
FIELDS += ["reasoning_details", "summary"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(json_values, max_size=6))
def test_json_of_any_shape_raises_only_our_errors(values: list[Any]) -> None:
    case = Case("shapes", b"".join(map(event, values)))
    read(case, [case.body])
    read(case, [json.dumps(values).encode()])


def check_shortcut(data: bytes) -> bool:
    """Whether the shortcut for usual events takes it; if so, it must say what the long way says."""
    usual = decode_usual(data)
    if usual is not None:
        value = decode_json(data)
        assert find_complaint(value) is None
        assert decode_chunk(value) == usual
    return usual is not None


def test_the_shortcut_takes_most_events_and_agrees_with_the_long_way() -> None:
    bodies = [case.body for case in CASES]
    events = [event for body in bodies for event in EventSplitter(1 << 20).feed(body)]
    taken = [check_shortcut(event.data) for event in events]
    assert 100 < sum(taken) < len(taken)


DELTA_FIELDS = ["content", "reasoning", "reasoning_content", "reasoning_details", "role"]
DELTA_FIELDS += ["tool_calls", "function_call", "refusal"]
choices = st.fixed_dictionaries(
    {"delta": st.dictionaries(st.sampled_from(DELTA_FIELDS), json_values | st.just([]))},
    optional={"index": json_values, "finish_reason": json_values, "message": json_values},
)
near_events = st.fixed_dictionaries(
    {"choices": st.lists(choices, min_size=1, max_size=2)},
    optional=dict.fromkeys(("usage", "error", "object", "type", "model"), json_values),
)


@settings(max_examples=200, deadline=None)
@given(near_events)
def test_the_shortcut_agrees_with_the_long_way_on_odd_events(value: Any) -> None:
    check_shortcut(json.dumps(value).encode())
