"""Events come out as the HTML standard cuts them, wherever the network cut the bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.sse import Event, EventSplitter


def split(*pieces: bytes, limit: int = 1000) -> list[Event]:
    splitter = EventSplitter(limit)
    events = [event for piece in pieces for event in splitter.feed(piece)]
    return events + splitter.finish()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
def test_each_kind_of_line_end_ends_a_line(end: bytes) -> None:
    lines = [b"data: a", b"data: b", b"", b"event: x", b"data: c", b"", b""]
    assert split(end.join(lines)) == [Event("", b"a\nb"), Event("x", b"c")]


def test_nothing_else_ends_a_line() -> None:
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg".encode()
    assert split(b"data: " + text + b"\n\n") == [Event("", text)]


def test_an_event_is_there_as_soon_as_its_blank_line_is() -> None:
    splitter = EventSplitter(1000)
    assert splitter.feed(b"data: a\n") == []
    assert splitter.feed(b"\n") == [Event("", b"a")]


def test_a_cr_at_the_end_of_a_piece_ends_the_line_at_once() -> None:
    splitter = EventSplitter(1000)
    assert splitter.feed(b"data: a\r\r") == [Event("", b"a")]
    assert splitter.feed(b"data: b\r") == []
    assert splitter.feed(b"\r") == [Event("", b"b")]


def test_a_crlf_cut_in_two_is_one_line_end() -> None:
    assert split(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [Event("", b"a\nb")]
    assert split(b"data: a\r", b"", b"\ndata: b\r\n") == [Event("", b"a\nb")]


def test_one_bom_is_dropped_at_the_start_only() -> None:
    bom = b"\xef\xbb\xbf"
    assert split(bom + b"data: a\n\n" + b"data: " + bom + b"b\n\n") == [
        Event("", b"a"),
        Event("", bom + b"b"),
    ]
    assert split(b"\xef", b"\xbb", b"\xbfdata: a\n\n") == [Event("", b"a")]


def test_one_space_after_the_colon_is_dropped() -> None:
    assert split(b"data:a\ndata: b\ndata:  c\ndata\n\n") == [Event("", b"a\nb\n c\n")]


def test_comments_and_other_fields_are_ignored() -> None:
    body = b": ping\n\nid: 7\nretry: 100\nfoo: x\nbar\n Data: no\n\ndata: a\n: in between\n\n"
    assert split(body) == [Event("", b"a")]


def test_a_name_lasts_for_one_event_and_needs_data() -> None:
    body = b"event: lost\n\nevent: x\ndata: a\n\ndata: b\n\n"
    assert split(body) == [Event("x", b"a"), Event("", b"b")]


def test_the_error_field_of_old_llama_cpp_is_an_event() -> None:
    assert split(b"error: {}\n\n") == [Event("error", b"{}")]


def test_the_end_completes_the_last_event() -> None:
    assert split(b"data: a\n\ndata: [DONE]") == [Event("", b"a"), Event("", b"[DONE]")]


@pytest.mark.parametrize(
    "tail",
    [b"data: " + b"x" * 100, b"x" * 101, b"data: " + b"x" * 200 + b"\n\n", b"data: xxxx\n" * 40],
    ids=["unfinished line", "unknown field", "whole line", "many lines"],
)
def test_beyond_the_limit_it_stops_but_keeps_what_came_before(tail: bytes) -> None:
    splitter = EventSplitter(100)
    assert splitter.feed(b"data: a\n\n" + tail) == [Event("", b"a")]
    assert splitter.is_overflown
    assert splitter.feed(b"\n\ndata: b\n\n") + splitter.finish() == []


def test_the_limit_is_for_one_event_not_for_all() -> None:
    assert len(split(b"data: 0123456789\n\n" * 100, limit=30)) == 100


lines = st.sampled_from([b"data: a", b"data:", b"", b"", b"event: x", b": c", b"data: \xc3\xa9"])
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(lines, ends), max_size=12), st.data())
def test_the_cut_makes_no_difference(parts: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    body = b"".join(line + end for line, end in parts)
    at = data.draw(st.integers(0, len(body)))
    assert split(body[:at], body[at:]) == split(body)
    assert split(*(bytes([byte]) for byte in body)) == split(body)
