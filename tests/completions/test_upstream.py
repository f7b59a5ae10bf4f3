"""The fake provider does what the other tests rely on, seen by a client that is not ours."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.upstream import Answer, Upstream

PATIENCE_SECONDS = 60  # on a busy computer; nothing here takes one
ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hello you"}], "stream": True}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@contextlib.contextmanager
def asking(upstream: Upstream, **more: Any) -> Iterator[httpx.Response]:
    url = upstream.url + "/chat/completions"
    with (
        httpx.Client(trust_env=False, verify=False, timeout=PATIENCE_SECONDS) as client,
        client.stream("POST", url, json=ASKED | more) as response,
    ):
        yield response


def ask(method: str, url: str, **more: Any) -> httpx.Response:
    return httpx.request(
        method, url, trust_env=False, verify=False, timeout=PATIENCE_SECONDS, **more
    )


def events_of(body: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in body.split("\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def texts_of(body: str) -> dict[int, str]:
    texts: dict[int, str] = {}
    for event in events_of(body)[:-1]:
        for choice in event["choices"]:
            text = choice["delta"].get("content", "")
            texts[choice["index"]] = texts.get(choice["index"], "") + text
    return texts


def test_it_streams_in_openais_dialect(upstream: Upstream) -> None:
    upstream.default = Answer(text="Hello there", chunk=4)
    with asking(upstream, stream_options={"include_usage": True}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = events_of(response.read().decode())
    assert events[-1] == "[DONE]"
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    deltas = [event["choices"][0]["delta"].get("content") for event in events[1:4]]
    assert deltas == ["Hell", "o th", "ere"]
    assert events[4]["choices"][0]["finish_reason"] == "stop"
    assert events[5]["choices"] == []
    usage = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    assert events[5]["usage"] == usage


def test_usage_comes_only_if_asked_for(upstream: Upstream) -> None:
    with asking(upstream) as response:
        assert "usage" not in response.read().decode()


def test_choices_alternate(upstream: Upstream) -> None:
    upstream.enqueue(Answer(texts=["aaaabbbb", "cc"]), Answer(text="same"))
    with asking(upstream, n=2) as response:
        body = response.read().decode()
    assert texts_of(body) == {0: "aaaabbbb", 1: "cc"}
    assert [e["choices"][0]["index"] for e in events_of(body)[2:5]] == [0, 1, 0]
    with asking(upstream, n=2) as response:
        assert texts_of(response.read().decode()) == {0: "same", 1: "same"}


def test_the_log_tells_what_was_asked(upstream: Upstream) -> None:
    with asking(upstream) as response:
        response.read()
    request = upstream.wait_for_request()
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.json == ASKED
    assert request.messages == ASKED["messages"]
    assert request.headers["content-type"] == "application/json"
    assert request.finished.wait(PATIENCE_SECONDS)


def test_a_chunked_request_body_is_read(upstream: Upstream) -> None:
    raw = json.dumps(ASKED).encode()
    pieces = [raw[:10], raw[10:]]
    ask("POST", upstream.url + "/chat/completions", content=iter(pieces))
    assert upstream.wait_for_request().json == ASKED


def test_answers_are_chosen_by_queue_then_function_then_default(upstream: Upstream) -> None:
    upstream.default = Answer(text="default")
    upstream.answer_with(lambda request: Answer(text=request.json["model"]))
    upstream.enqueue(Answer(text="queued"))
    seen = []
    for _ in range(3):
        with asking(upstream) as response:
            seen.append(texts_of(response.read().decode())[0])
        if len(seen) == 2:
            upstream.answer_with(None)
    assert seen == ["queued", "m", "default"]


def test_a_held_answer_is_driven_from_outside(upstream: Upstream) -> None:
    held = upstream.hold()
    with asking(upstream) as response:
        lines = response.iter_lines()
        assert held.request.json == ASKED
        assert not held.request.finished.is_set()
        held.send("now")
        while '"now"' not in next(lines):
            pass
        held.finish("length")
        rest = "\n".join(lines)
    assert '"finish_reason": "length"' in rest
    assert rest.rstrip().endswith("data: [DONE]")
    assert held.request.finished.wait(PATIENCE_SECONDS)


def test_a_departed_client_is_seen_while_the_answer_is_held(upstream: Upstream) -> None:
    held = upstream.hold()
    with asking(upstream):
        assert not held.request.closed.is_set()
    assert held.wait_closed()


def test_a_client_that_leaves_a_silent_answer_is_seen(upstream: Upstream) -> None:
    held = upstream.hold(silent=True)
    with socket.create_connection(("127.0.0.1", upstream.port)) as client:
        body = json.dumps(ASKED).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
        client.sendall(head % len(body) + body)
        assert held.request.json == ASKED
    assert held.wait_closed()


def test_closed_is_about_the_client_only(upstream: Upstream) -> None:
    held = upstream.hold()
    with asking(upstream) as response:
        held.send("a")
        held.drop()
        with pytest.raises(httpx.ReadError):
            response.read()
    assert not held.request.closed.is_set()


def test_a_cut_resets_the_connection_after_so_many_characters(upstream: Upstream) -> None:
    upstream.default = Answer(text="Hello there", cut_after=6, chunk=2)
    with asking(upstream) as response:
        seen = b""
        with contextlib.suppress(httpx.ReadError):
            for piece in response.iter_raw():
                seen += piece
            raise AssertionError("the body ended properly")
    assert b'"o "' in seen
    assert b'"th"' not in seen


@pytest.mark.parametrize(
    ("end", "last"),
    [("eof", '"content": "Hello"'), ("finish", '"finish_reason": "stop"'), ("error:no", '"no"')],
)
def test_ends(upstream: Upstream, end: str, last: str) -> None:
    upstream.default = Answer(text="Hello", chunk=5, end=end)
    with asking(upstream) as response:
        body = response.read().decode()
    assert last in body.strip().split("\n\n")[-1]


def test_a_close_in_the_middle_breaks_the_body(upstream: Upstream) -> None:
    upstream.default = Answer(end="close")
    with asking(upstream) as response, pytest.raises(httpx.RemoteProtocolError):
        response.read()


def test_raw_pieces_arrive_exactly(upstream: Upstream) -> None:
    upstream.default = Answer(raw=[b"data: \xff", 0.05, b"\r"])
    with asking(upstream) as response:
        assert list(response.iter_raw()) == [b"data: \xff", b"\r"]


def test_wire_is_the_whole_answer(upstream: Upstream) -> None:
    upstream.default = Answer(wire=[b"HTTP/1.1 418 Teapot\r\nX-A: b\r\n\r\nshort"])
    with asking(upstream) as response:
        assert (response.status_code, response.read()) == (418, b"short")
        assert response.headers["x-a"] == "b"


def test_a_status_brings_an_error_body(upstream: Upstream) -> None:
    upstream.default = Answer(status=503, headers={"Retry-After": "1"})
    with asking(upstream) as response:
        assert "503" in json.loads(response.read())["error"]["message"]
        assert response.headers["retry-after"] == "1"


def test_the_rate_is_kept(upstream: Upstream) -> None:
    upstream.default = Answer(text="x" * 10, chunk=1, rate=50)
    with asking(upstream) as response:
        response.read()
        assert response.elapsed.total_seconds() >= 0.2


def test_a_key_is_asked_for_if_there_is_one() -> None:
    with Upstream(key="sk-1") as upstream:
        url = upstream.url + "/models"
        for headers in ({}, {"x-api-key": "no"}, {"authorization": "Bearer no"}):
            assert ask("GET", url, headers=headers).status_code == 401
        for headers in ({"x-api-key": "sk-1"}, {"authorization": "Bearer sk-1"}):
            listed = ask("GET", url, headers=headers).json()
            assert [model["id"] for model in listed["data"]] == ["fake-model"]


def test_connections_are_counted(upstream: Upstream) -> None:
    with httpx.Client(trust_env=False, verify=False, timeout=PATIENCE_SECONDS) as client:
        for _ in range(3):
            client.post(upstream.url + "/chat/completions", json=ASKED)
        assert (upstream.connections_made, upstream.open_connections) == (1, 1)
    assert upstream.requests[-1].closed.wait(PATIENCE_SECONDS)


def test_it_stops_at_once_and_leaves_nothing() -> None:
    before = set(threading.enumerate())
    with Upstream() as upstream:
        upstream.hold()
        with socket.create_connection(("127.0.0.1", upstream.port)) as client:
            body = json.dumps(ASKED).encode()
            head = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
            client.sendall(head % len(body) + body)
            upstream.wait_for_request()
            upstream.close()
            assert not set(threading.enumerate()) - before
            client.settimeout(PATIENCE_SECONDS)
            with contextlib.suppress(ConnectionResetError):
                while client.recv(1000):
                    pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", upstream.port))


def test_it_runs_as_a_program() -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.upstream", "--rate", "0"]
    with subprocess.Popen(
        [*command, "--tokens", "3"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as program:
        assert program.stdout is not None
        url = json.loads(program.stdout.readline())["url"]
        answer = ask("POST", url + "/chat/completions", json=ASKED)
        assert len(texts_of(answer.text)[0]) == 12
        _, errors = program.communicate(timeout=PATIENCE_SECONDS)  # closes its input
    assert (program.returncode, errors) == (0, "")
