"""The client against a real server on loopback, with its own transport and with httpx's."""

import asyncio
import contextlib
import gc
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from completions.client import CompletionClient
from completions.endpoint import Endpoint
from completions.errors import (
    CompletionError,
    FirstTokenTimeout,
    ProviderBusy,
    ProviderUnreachable,
    StreamBroken,
    StreamStalled,
    TotalTimeout,
)
from completions.timing import AnswerTimer
from completions.types import ChatMessage, CompletionChunk, CompletionRequest, Limits, Usage
from tests.completions.clock import forward
from tests.upstream import Answer, Held, Received, Upstream

KEY = "sk-secret-0123456789"
REQUEST = CompletionRequest("fake-model", (ChatMessage("user", "Hello you there"),))
NOT_PERMITTED = "Extra inputs are not permitted"
USE_OTHER = "Use 'max_completion_tokens' instead."
TLS = ssl.create_default_context()  # made once: it takes 50 ms
MOST_SECONDS = 60  # on a busy computer; nothing here takes ten
NO_LIMITS = httpx.Limits(max_connections=None)
ONCE = Limits(connect=60, first_token=60, stall=60, total=90, retries=0)


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Collect what the tests left: an unclosed socket is a ResourceWarning, and that an error."""
    yield
    gc.collect()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(key=KEY) as upstream:
        yield upstream


@pytest.fixture
def is_stock(request: pytest.FixtureRequest) -> bool:
    """Whether to read with the transport that httpx brings along."""
    return bool(getattr(request, "param", False))


with_both_transports = pytest.mark.parametrize(
    "is_stock", [False, True], ids=["aiohttp", "httpx"], indirect=True
)


@pytest.fixture
async def make_client(is_stock: bool) -> AsyncIterator[Callable[..., CompletionClient]]:
    """Make clients that are closed at the end."""
    clients = []

    def make(url: str, limits: Limits = ONCE, **endpoint: Any) -> CompletionClient:
        own = httpx.AsyncHTTPTransport(verify=TLS, limits=NO_LIMITS) if is_stock else None
        fields = {"key": KEY, "auth": "x-api-key"} | endpoint
        clients.append(CompletionClient(Endpoint(url, **fields), limits, transport=own))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


Make = Callable[..., CompletionClient]


@dataclass
class Result:
    text: str = ""
    usage: Usage | None = None
    error: CompletionError | None = None

    @property
    def code(self) -> str | None:
        return self.error.code if self.error else None


async def ask(client: CompletionClient, request: CompletionRequest = REQUEST) -> Result:
    result = Result()
    try:
        async with contextlib.aclosing(client.stream(request)) as chunks:
            async for chunk in chunks:
                result.text += text_of(chunk)
                result.usage = chunk.usage or result.usage
    except CompletionError as error:
        result.error = error
    return result


def text_of(chunk: CompletionChunk) -> str:
    return "".join(delta.text for delta in chunk.deltas)


def data(text: str) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % text.encode()


@with_both_transports
async def test_an_answer_streams_in_with_its_usage(upstream: Upstream, make_client: Make) -> None:
    upstream.default = Answer(text="Hello there", chunk=4)
    result = await ask(make_client(upstream.url))
    assert result == Result("Hello there", Usage(3, 3))
    request = upstream.requests[0]
    assert request.path == "/v1/chat/completions"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["x-api-key"] == KEY
    assert request.headers["content-type"] == "application/json"
    assert request.json["stream"] is True


async def test_deltas_come_one_by_one(upstream: Upstream, make_client: Make) -> None:
    held = upstream.hold()
    async with contextlib.aclosing(make_client(upstream.url).stream(REQUEST)) as chunks:
        held.send("a")
        assert text_of(await anext(chunks)) == "a"
        held.send("b")
        assert text_of(await anext(chunks)) == "b"
        held.finish("length")
        assert (await anext(chunks)).deltas[0].finish_reason == "length"
        assert (await anext(chunks)).usage == Usage(3, 2)
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)


async def test_choices_are_told_apart(upstream: Upstream, make_client: Make) -> None:
    upstream.default = Answer(texts=["Hello", "Good day"])
    request = CompletionRequest("m", REQUEST.messages, n=2)
    texts = {0: "", 1: ""}
    async for chunk in make_client(upstream.url).stream(request):
        for delta in chunk.deltas:
            texts[delta.index] += delta.text
    assert texts == {0: "Hello", 1: "Good day"}


async def test_one_connection_serves_one_answer_after_another(
    upstream: Upstream, make_client: Make
) -> None:
    client = make_client(upstream.url)
    for _ in range(3):
        assert (await ask(client)).code is None
    assert upstream.connections_made == 1


async def test_connections_are_closed_where_that_is_asked_for(
    upstream: Upstream, make_client: Make
) -> None:
    client = make_client(upstream.url, close_connections=True)
    for _ in range(3):
        assert (await ask(client)).code is None
    assert upstream.connections_made == 3
    assert upstream.requests[0].headers["connection"] == "close"


async def test_many_answers_at_once(upstream: Upstream, make_client: Make) -> None:
    client = make_client(upstream.url)
    upstream.default = Answer(first_delay=0.2)  # so that all of them are under way together
    results = await asyncio.gather(*(ask(client) for _ in range(120)))
    assert {result.code for result in results} == {None}


# Faults before the answer.


@with_both_transports
async def test_a_refused_connection_is_unreachable(make_client: Make) -> None:
    with socket.socket() as taken:  # bound, but it does not listen
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        result = await ask(make_client(url))
    assert result.code == "unreachable"
    assert "connect" in str(result.error).lower()


@with_both_transports
async def test_an_unknown_host_is_unreachable(make_client: Make) -> None:
    assert (await ask(make_client("http://no-such-host.invalid/v1"))).code == "unreachable"


@with_both_transports
async def test_a_connection_that_hangs_is_unreachable(make_client: Make) -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # fill its queue: the kernel leaves the next one without an answer
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        began = time.monotonic()
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        result = await ask(make_client(url, Limits(connect=0.4, retries=0)))
        assert result.code == "unreachable"
        assert 0.3 < time.monotonic() - began < MOST_SECONDS


async def test_tls_with_a_server_that_has_none_is_unreachable(
    upstream: Upstream, make_client: Make
) -> None:
    url = upstream.url.replace("http:", "https:")
    assert (await ask(make_client(url, Limits(connect=0.4, retries=0)))).code == "unreachable"


@with_both_transports
@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
async def test_a_certificate_nobody_signed_is_unreachable(
    make_client: Make, tmp_path: Path
) -> None:
    command = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    command += " -keyout key.pem -out cert.pem -days 1 -subj /CN=localhost"
    await asyncio.to_thread(
        subprocess.run, command.split(), cwd=tmp_path, check=True, capture_output=True
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        result = await ask(make_client(f"https://localhost:{port}/v1"))
    assert result.code == "unreachable"
    assert "self-signed" in str(result.error)


@with_both_transports
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(wire=[], end="close"), "unreachable"),
        (Answer(wire=[], end="reset"), "unreachable"),
        (Answer(wire=[b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 200_000 + b"\r\n\r\n"]), "protocol"),
        (Answer(headers={"Content-Encoding": "gzip"}), "protocol"),
        (Answer(status=302, headers={"Location": "http://169.254.169.254/"}), "misconfigured"),
        (Answer(status=400), "refused"),
        (Answer(status=401), "misconfigured"),
        (Answer(status=404), "model_not_found"),
        (Answer(status=429), "busy"),
        (Answer(status=500, body=b"<html><title>Oops</title></html>"), "provider_failed"),
        (Answer(status=503), "provider_failed"),
        (Answer(status=500, body=b"x" * 1_000_000), "provider_failed"),
        (Answer(body={"error": {"message": "no"}}), "provider_failed"),
        (Answer(body=b"<html>Log in</html>"), "provider_failed"),
        (Answer(body=b""), "provider_failed"),
        (Answer(raw=[data("Hello")[:20]], end="close"), "broken"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_no_answer(
    upstream: Upstream, make_client: Make, answer: Answer, code: str
) -> None:
    upstream.default = answer
    client = make_client(upstream.url)
    assert (await ask(client)).code == code
    upstream.default = Answer()
    assert (await ask(client)).code is None  # and the client is as good as new


async def test_bytes_that_are_no_http_are_only_our_error(
    upstream: Upstream, make_client: Make
) -> None:
    upstream.default = Answer(wire=[b"SSH-2.0-OpenSSH_9\r\n"])
    assert (await ask(make_client(upstream.url))).code in ("protocol", "unreachable")


async def test_long_headers_of_gateways_are_accepted(upstream: Upstream, make_client: Make) -> None:
    upstream.default = Answer(headers={"Content-Security-Policy": "a" * 20_000})
    assert (await ask(make_client(upstream.url))).code is None


async def test_cookies_are_not_kept(upstream: Upstream, make_client: Make) -> None:
    upstream.default = Answer(headers={"Set-Cookie": "who=alice"})
    client = make_client(upstream.url)
    await ask(client)
    await ask(client)
    assert "cookie" not in upstream.requests[1].headers


async def test_proxies_of_the_environment_are_not_used(
    upstream: Upstream, make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await ask(make_client(upstream.url))).code is None


async def test_a_whole_answer_in_json_is_an_answer(upstream: Upstream, make_client: Make) -> None:
    choice = {"message": {"content": "Hello"}, "finish_reason": "stop"}
    upstream.default = Answer(body={"choices": [choice]})
    assert await ask(make_client(upstream.url)) == Result("Hello")


# Faults within the answer: what came before them is kept.


@with_both_transports
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(text="Hello there", cut_after=5), "broken"),
        (Answer(text="Hello", end="close"), "broken"),
        (Answer(text="Hello", end="eof"), "broken"),
        (Answer(text="Hello", end="error:out of memory"), "provider_failed"),
        (Answer(text="Hello", end="finish"), None),
        (Answer(raw=[data("Hello")], end="reset"), "broken"),
        (Answer(raw=[data("Hello") + b"data: [DONE]\n\n"], end="close"), None),
        (Answer(raw=[data("Hello") + b"data: [DONE]\n\n"], end="hang"), None),
        (Answer(raw=[data("Hello") + b"data: " + b"x" * 2_000_000]), "protocol"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_text_before_a_fault_is_kept(
    upstream: Upstream, make_client: Make, answer: Answer, code: str | None
) -> None:
    upstream.default = answer
    result = await ask(make_client(upstream.url))
    assert (result.text, result.code) == ("Hello", code)


async def test_the_providers_words_come_without_the_key(
    upstream: Upstream, make_client: Make
) -> None:
    client = make_client(upstream.url)
    upstream.enqueue(
        Answer(status=401, body={"error": {"message": f"bad key {KEY}"}}),
        Answer(end=f"error:bad key {KEY}"),
    )
    for _ in range(2):
        result = await ask(client)
        assert result.error is not None
        assert result.error.provider_words == "bad key [key]"


async def test_a_wrong_key_is_a_misconfiguration(upstream: Upstream, make_client: Make) -> None:
    result = await ask(make_client(upstream.url, key="sk-another", auth="bearer"))
    assert result.code == "misconfigured"
    assert (await ask(make_client(upstream.url, auth="bearer"))).code is None


@with_both_transports
@pytest.mark.parametrize("end", ["close", "reset"])
async def test_what_arrived_while_nobody_read_survives_the_break(
    upstream: Upstream, make_client: Make, end: str
) -> None:
    pieces: list[bytes | float] = [data("Hello"), 0.05, data(" there") + b"data: [DONE]\n\n"]
    upstream.default = Answer(raw=pieces, end=end)
    text = ""
    async for chunk in make_client(upstream.url).stream(REQUEST):
        text += text_of(chunk)
        await asyncio.sleep(0.25)  # meanwhile the rest comes, and the connection breaks
    assert text == "Hello there"


# Time limits.


@with_both_transports
async def test_slow_headers_end_at_the_first_token_limit(
    upstream: Upstream, make_client: Make
) -> None:
    slowly: list[bytes | float] = [0.1, b"X-A: b\r\n"]
    upstream.default = Answer(wire=[b"HTTP/1.1 200 OK\r\n", *slowly * 600])
    client = make_client(upstream.url, Limits(first_token=0.3, retries=0))
    assert (await ask(client)).code == "first_token_timeout"
    assert await upstream.aleft()


async def test_comments_and_empty_deltas_do_not_count_as_a_first_token(
    upstream: Upstream, make_client: Make
) -> None:
    upstream.default = Answer(raw=[b": ping\n\n", 0.1, data("")] * 600)
    client = make_client(upstream.url, Limits(first_token=0.3))
    assert (await ask(client)).code == "first_token_timeout"
    assert await upstream.aleft()


async def test_comments_and_empty_deltas_do_not_hide_a_stall(
    upstream: Upstream, make_client: Make
) -> None:
    nothing: list[bytes | float] = [b": ping\n\n", 0.1, data("")]
    upstream.default = Answer(raw=[data("Hello"), *nothing * 600])
    client = make_client(upstream.url, Limits(stall=0.3))
    result = await ask(client)
    assert (result.text, result.code) == ("Hello", "stalled")
    assert await upstream.requests[0].aclosed()


async def test_each_new_text_renews_the_stall_limit(upstream: Upstream, make_client: Make) -> None:
    held = upstream.hold()
    await assert_pieces_renew_the_limit(make_client(upstream.url, SLOW), held, held.send)


async def test_reasoning_counts_as_progress(upstream: Upstream, make_client: Make) -> None:
    held = upstream.hold()
    await assert_pieces_renew_the_limit(make_client(upstream.url, SLOW), held, held.send_reasoning)


async def test_tool_calls_count_as_progress(upstream: Upstream, make_client: Make) -> None:
    held = upstream.hold()

    def call(piece: str) -> None:
        held.send_tool_call(piece, id="c1", name="weather")

    await assert_pieces_renew_the_limit(make_client(upstream.url, SLOW), held, call)


SLOW = Limits(first_token=60, stall=60)


async def assert_pieces_renew_the_limit(
    client: CompletionClient, held: Held, send: Callable[[str], None]
) -> None:
    """An answer of three pieces takes longer than the limit, each of them does not."""
    async with contextlib.aclosing(client.stream(REQUEST)) as chunks:
        send("a")
        assert (await anext(chunks)).deltas
        for piece in ("b", "c"):
            assert (await after(40, chunks, send, piece)).deltas
        held.finish()
        assert (await anext(chunks)).deltas[0].finish_reason


async def after(
    seconds: float,
    chunks: AsyncIterator[CompletionChunk],
    send: Callable[[str], None] | None = None,
    piece: str = "",
) -> CompletionChunk:
    """Wait for a chunk, for which the provider takes so long."""
    waiting = asyncio.ensure_future(anext(chunks))
    await asyncio.sleep(0)  # it has begun to wait
    forward(seconds)
    if send:
        send(piece)
    return await waiting


async def test_the_total_limit_ends_an_answer_that_grows(
    upstream: Upstream, make_client: Make
) -> None:
    held = upstream.hold()
    chunks = make_client(upstream.url, replace(SLOW, total=100)).stream(REQUEST)
    held.send("a")
    assert text_of(await anext(chunks)) == "a"
    for _ in range(2):
        assert text_of(await after(40, chunks, held.send, "a")) == "a"
    with pytest.raises(TotalTimeout):
        await after(40, chunks)
    assert await held.request.aclosed()


async def test_a_slow_reader_does_not_make_a_stall(upstream: Upstream, make_client: Make) -> None:
    held = upstream.hold()
    held.send("a")
    text = ""
    async for chunk in make_client(upstream.url, Limits(stall=60)).stream(REQUEST):
        text += text_of(chunk)
        if text == "a":
            forward(100)  # longer than the limit
            held.send("b")
            held.finish()
    assert text == "ab"


async def test_a_usage_that_never_comes_does_not_hold_the_answer_up(
    upstream: Upstream, make_client: Make
) -> None:
    stop = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    upstream.default = Answer(raw=[data("Hello") + stop], end="hang")
    result = await ask(make_client(upstream.url, Limits(stall=0.3)))
    assert (result.text, result.code) == ("Hello", None)
    assert await upstream.requests[0].aclosed()


# Stopping: the provider is left within a second, in every phase.


@with_both_transports
@pytest.mark.parametrize("phase", ["before the headers", "before the first token", "midway"])
async def test_cancelling_closes_the_connection(
    upstream: Upstream, make_client: Make, phase: str
) -> None:
    held = upstream.hold(silent=phase == "before the headers")
    client = make_client(upstream.url)
    has_begun = asyncio.Event()

    async def read() -> None:
        async for _ in client.stream(REQUEST):
            has_begun.set()

    task = asyncio.create_task(read())
    request = await held.arequest()
    if phase == "midway":
        held.send("Hello")
        await asyncio.wait_for(has_begun.wait(), MOST_SECONDS)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await request.aclosed()
    assert (await ask(client)).code is None


async def test_a_server_that_does_not_read_the_request_is_left_too(make_client: Make) -> None:
    request = CompletionRequest("m", (ChatMessage("user", "x" * 20_000_000),))
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        client = make_client(url, Limits(first_token=2, retries=0))
        assert (await ask(client, request)).code == "first_token_timeout"
        sent = await asyncio.to_thread(read_to_end, server)
    assert 0 < sent < 20_000_000


def read_to_end(server: socket.socket) -> int:
    """Return how many bytes had been sent on a connection that its client has closed."""
    server.settimeout(MOST_SECONDS)
    connection, _ = server.accept()
    with connection:
        connection.settimeout(MOST_SECONDS)
        size = 0
        while piece := connection.recv(1 << 20):
            size += len(piece)
        return size


@with_both_transports
async def test_closing_the_generator_closes_the_connection(
    upstream: Upstream, make_client: Make
) -> None:
    held = upstream.hold()
    chunks = make_client(upstream.url).stream(REQUEST)
    held.send("Hello")
    await anext(chunks)
    await chunks.aclose()
    assert await held.request.aclosed()


@with_both_transports
async def test_closing_the_client_ends_its_streams(upstream: Upstream, make_client: Make) -> None:
    held = upstream.hold()
    client = make_client(upstream.url)
    task = asyncio.create_task(ask(client))
    request = await held.arequest()
    await client.aclose()
    assert (await asyncio.wait_for(task, MOST_SECONDS)).code in ("broken", "unreachable")
    assert await request.aclosed()
    assert (await ask(client)).code == "unreachable"


@with_both_transports
async def test_a_timeout_of_the_caller_stays_the_callers(
    upstream: Upstream, make_client: Make
) -> None:
    held = upstream.hold()
    client = make_client(upstream.url, Limits(first_token=2000, stall=2000, total=2000))

    async def strike() -> None:
        await held.arequest()
        forward(1000)

    striking = asyncio.create_task(strike())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1000):
            await ask(client)
    await striking
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    assert await held.request.aclosed()


# Asking again, only before the first byte.


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_passing_refusal_is_asked_again(
    upstream: Upstream, make_client: Make, status: int
) -> None:
    soon = {"Retry-After": "0"}
    upstream.enqueue(Answer(status=status, headers=soon), Answer(status=status, headers=soon))
    assert (await ask(make_client(upstream.url, Limits()))).code is None
    assert len(upstream.requests) == 3


async def test_it_gives_up_after_two_more_attempts(upstream: Upstream, make_client: Make) -> None:
    upstream.default = Answer(status=503, headers={"Retry-After": "0"})
    assert (await ask(make_client(upstream.url, Limits()))).code == "provider_failed"
    assert len(upstream.requests) == 3


async def test_a_connection_lost_before_the_first_byte_is_asked_again(
    upstream: Upstream, make_client: Make
) -> None:
    upstream.enqueue(Answer(wire=[], end="reset"))
    assert (await ask(make_client(upstream.url, Limits()))).code is None
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("header", [("Retry-After", "0.5"), ("retry-after-ms", "500")])
async def test_retry_after_is_waited_for(
    upstream: Upstream, make_client: Make, header: tuple[str, str]
) -> None:
    upstream.enqueue(Answer(status=429, headers=dict([header])))
    began = time.monotonic()
    assert (await ask(make_client(upstream.url, Limits()))).code is None
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize(
    ("answer", "limits"),
    [
        (Answer(status=500), Limits()),
        (Answer(status=400), Limits()),
        (Answer(status=401), Limits()),
        (Answer(status=429, headers={"Retry-After": "21"}), Limits()),
        (Answer(status=429, headers={"Retry-After": "19"}), Limits(total=18)),
        (Answer(cut_after=0), Limits()),
        (Answer(body={"error": "no"}), Limits()),
    ],
)
async def test_what_asking_again_would_not_help_is_asked_once(
    upstream: Upstream, make_client: Make, answer: Answer, limits: Limits
) -> None:
    upstream.default = answer
    result = await ask(make_client(upstream.url, limits))
    assert result.error is not None
    assert len(upstream.requests) == 1


async def test_callers_that_ask_again_spread(make_client: Make) -> None:
    client = make_client("http://127.0.0.1:9/v1", Limits(retries=9))
    for attempt, longest in enumerate([0.4, 1.2, 3.0, 3.0]):
        pauses = {client._pause_after(ProviderUnreachable("gone"), attempt) for _ in range(20)}
        assert len(pauses) == 20
        assert all(pause and longest / 2 <= pause <= longest for pause in pauses)


@pytest.mark.parametrize(("said", "waited"), [(0, 0), (20, 20), (20.1, None)])
async def test_what_a_busy_provider_says_is_kept_to_up_to_20_s(
    make_client: Make, said: float, waited: float | None
) -> None:
    client = make_client("http://127.0.0.1:9/v1", Limits())
    assert client._pause_after(ProviderBusy("busy", retry_after=said), 0) == waited


@pytest.mark.parametrize("status", [429, 503])
async def test_a_provider_says_for_how_long_it_is_busy(
    upstream: Upstream, make_client: Make, status: int
) -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    upstream.enqueue(
        Answer(status=status, headers={"Retry-After": "21"}),
        Answer(status=status, headers={"Retry-After": in_an_hour}),
    )
    client = make_client(upstream.url, Limits())
    waits = []
    for _ in range(2):
        result = await ask(client)
        assert result.error is not None
        waits.append(result.error.retry_after)
    assert waits == [21, pytest.approx(3600, abs=MOST_SECONDS)]
    assert len(upstream.requests) == 2


def refusing(field: str, body: Any, status: int = 400) -> Callable[[Received], Answer]:
    """A server that refuses whatever has a field."""
    return lambda request: (
        Answer(status=status, body=body) if field in request.json else Answer(text="Hello")
    )


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (422, {"detail": [{"loc": ["body", "stream_options"], "msg": NOT_PERMITTED}]}),
        (400, {"error": {"message": "No.", "param": "stream_options"}}),
        (400, {"error": {"message": "No.", "param": "stream_options.include_usage"}}),
        (400, {"error": {"message": "Unrecognized request argument supplied: stream_options"}}),
        (400, 'json: unknown field "stream_options"'),
        (400, {"error": {"message": "property 'stream_options' is unsupported"}}),
        (400, {"message": "stream_options is not supported by this model"}),
    ],
)
async def test_stream_options_are_left_out_for_a_model_that_refuses_them(
    upstream: Upstream, make_client: Make, status: int, body: Any
) -> None:
    upstream.answer_with(refusing("stream_options", body, status))
    client = make_client(upstream.url)
    assert await ask(client) == Result("Hello")
    assert await ask(client) == Result("Hello")
    assert len(upstream.requests) == 3  # the second time it is known
    await ask(client, replace(REQUEST, model="other"))
    assert "stream_options" in upstream.requests[3].json


ECHO = replace(REQUEST, options={"tools": [{"function": {"name": "stream_options"}}]})


@pytest.mark.parametrize(
    ("request_", "status", "error", "times"),
    [
        (ECHO, 400, {"message": "Unknown tool stream_options"}, 1),
        (REQUEST, 400, {"message": "stream_options: n must be 1"}, 1),
        (REQUEST, 400, {"message": "not permitted", "param": "messages"}, 1),
        (REQUEST, 401, {"message": "unknown", "param": "stream_options"}, 1),
        (REQUEST, 400, {"message": "Unknown: foo. Known: model, stream_options"}, 2),
        (replace(REQUEST, max_tokens=9), 400, {"message": "No.", "param": "max_tokens"}, 1),
        (REQUEST, 400, {"message": "Unsupported: use max_completion_tokens"}, 1),
        (
            replace(REQUEST, max_tokens=9, stop=("max_completion_tokens",)),
            400,
            {"message": "Unsupported: max_completion_tokens"},
            1,
        ),
    ],
)
async def test_a_refusal_that_is_about_something_else_teaches_nothing(
    upstream: Upstream,
    make_client: Make,
    request_: CompletionRequest,
    status: int,
    error: Any,
    times: int,
) -> None:
    client = make_client(upstream.url)
    upstream.default = Answer(status=status, body={"error": error})
    assert (await ask(client, request_)).code in ("refused", "misconfigured")
    assert len(upstream.requests) == times
    upstream.default = Answer()
    assert (await ask(client, replace(REQUEST, max_tokens=9))).usage is not None
    assert upstream.requests[-1].json["max_tokens"] == 9


@pytest.mark.parametrize(
    "error",
    [
        {"message": f"Unsupported parameter: 'max_tokens'. {USE_OTHER}", "param": "max_tokens"},
        {"message": f"This model does not support max_tokens. {USE_OTHER}"},
    ],
)
async def test_a_model_that_wants_the_newer_name_of_the_limit_gets_it(
    upstream: Upstream, make_client: Make, error: Any
) -> None:
    upstream.answer_with(refusing("max_tokens", {"error": error}))
    client = make_client(upstream.url)
    request = CompletionRequest("m", REQUEST.messages, max_tokens=9)
    for _ in range(2):
        assert (await ask(client, request)).text == "Hello"
    assert [r.json.get("max_completion_tokens") for r in upstream.requests] == [None, 9, 9]


async def test_an_impossible_key_or_address_is_a_misconfiguration(make_client: Make) -> None:
    for client in (make_client("http://h", key="a\nb"), make_client("not a url")):
        assert (await ask(client)).code == "misconfigured"


def test_everything_is_closed_under_uvloop_too(upstream: Upstream) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        client = CompletionClient(Endpoint(upstream.url, KEY, "bearer"), ONCE)
        assert (await ask(client)).code is None
        held = upstream.hold()
        task = asyncio.create_task(ask(client))
        request = await held.arequest()
        task.cancel()
        assert await request.aclosed()
        upstream.enqueue(Answer(end="reset"))
        assert (await ask(client)).code == "broken"
        await client.aclose()

    uvloop.run(main())
    gc.collect()


# Floods, and readers that are away.

on_both_loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
PINGS = b": ping\n\n" * 1000
BLANKS = b"\n" * 8000
EMPTY = data("") * 100
COUNTS = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n' * 100
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
ENDLESS = 1 << 50


def run(loop: str, main: Coroutine[Any, Any, None]) -> None:
    (pytest.importorskip("uvloop").run if loop == "uvloop" else asyncio.run)(main)
    gc.collect()


@on_both_loops
@pytest.mark.parametrize("flood", [PINGS, BLANKS, EMPTY, COUNTS], ids=lambda flood: flood[:9])
@pytest.mark.parametrize(
    ("first", "limits", "code"),
    [
        (b"", Limits(first_token=0.3, body_bytes=ENDLESS, events=ENDLESS), "first_token_timeout"),
        (data("Hello"), Limits(stall=0.3, body_bytes=ENDLESS, events=ENDLESS), "stalled"),
        (b"", Limits(total=0.3, body_bytes=ENDLESS, events=ENDLESS), "total_timeout"),
        (b"", Limits(body_bytes=1 << 18), "protocol"),
        (data("Hello"), Limits(body_bytes=1 << 18), "protocol"),
        (data("Hello") + STOP, Limits(body_bytes=1 << 18), None),
        (data("Hello") + STOP, Limits(stall=0.3, body_bytes=ENDLESS, events=ENDLESS), None),
    ],
    ids=["first token", "stall", "total", "bytes", "bytes later", "bytes at the end", "ending"],
)
def test_a_flood_is_no_answer(
    upstream: Upstream, loop: str, flood: bytes, first: bytes, limits: Limits, code: str | None
) -> None:
    upstream.default = Answer(raw=[b": begin\n\n" + first, *[flood] * 100_000])

    async def main() -> None:
        client = CompletionClient(Endpoint(upstream.url, KEY, "bearer"), limits)
        began = time.monotonic()
        result = await ask(client)
        assert time.monotonic() - began < MOST_SECONDS
        assert (result.code, result.text) == (code, "Hello" if first else "")
        assert await upstream.aleft()
        await client.aclose()

    run(loop, main())


class Buffered(httpx.AsyncByteStream, httpx.AsyncBaseTransport):
    """An answer of which there is always more already, so that no timer ever has a turn."""

    def __init__(self, first: bytes) -> None:
        self.first = first
        self.is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b": begin\n\n" + self.first
        while True:
            yield PINGS

    async def aclose(self) -> None:
        self.is_closed = True


@on_both_loops
@pytest.mark.parametrize(
    ("first", "limits", "code"),
    [
        (b"", Limits(first_token=0.3, body_bytes=ENDLESS), "first_token_timeout"),
        (data("Hello"), Limits(stall=0.3, body_bytes=ENDLESS), "stalled"),
        (data("Hello"), Limits(total=0.3, body_bytes=ENDLESS), "total_timeout"),
        (data("Hello") + STOP, Limits(stall=0.3, body_bytes=ENDLESS), None),
        (data("Hello") + b"data: [DONE]\n\n", Limits(), None),
    ],
    ids=["first token", "stall", "total", "ending", "done"],
)
def test_limits_are_kept_where_nothing_is_waited_for(
    loop: str, first: bytes, limits: Limits, code: str | None
) -> None:
    async def main() -> None:
        flood = Buffered(first)
        client = CompletionClient(Endpoint("http://h/v1", KEY, "bearer"), limits, transport=flood)
        began = time.monotonic()
        result = await ask(client)
        assert time.monotonic() - began < MOST_SECONDS
        assert (result.code, result.text) == (code, "Hello" if first else "")
        assert flood.is_closed
        await client.aclose()

    run(loop, main())


@on_both_loops
def test_limits_that_are_all_but_over_are_kept(loop: str) -> None:
    """uvloop gives a handle of another kind for a time that is very near, or past."""

    async def main() -> None:
        for microseconds in (-500, 0, 1, 50, 200, 300, 500, 900, 2000):
            timer = AnswerTimer(Limits(first_token=microseconds / 1e6, stall=microseconds / 1e6))
            for _ in range(20):
                with contextlib.suppress(FirstTokenTimeout, StreamStalled):
                    await timer.wait_for(asyncio.sleep(0))
                timer.start_stall()
                with contextlib.suppress(StreamStalled):
                    await timer.wait_for(asyncio.sleep(microseconds / 1e6))
                timer.excuse(timer.time() - 0.0001)
            with pytest.raises(StreamStalled):
                await timer.wait_for(asyncio.sleep(5))
            with pytest.raises(StreamStalled):
                timer.check()
            timer.abort()
            with pytest.raises(StreamBroken):
                await timer.wait_for(asyncio.sleep(5))
            timer.close()

    run(loop, main())


async def test_a_reader_that_is_away_costs_the_provider_nothing_in_any_phase(
    upstream: Upstream, make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came meanwhile is read, however late, up to the last of the usage."""
    monkeypatch.setattr("completions.timing.USAGE_SECONDS", 60)

    def count(number: int) -> bytes:
        usage = f'{{"prompt_tokens":3,"completion_tokens":{number}}}'
        return f'data: {{"choices":[],"usage":{usage}}}\n\n'.encode()

    pieces = [count(0), data("Hello there"), STOP, count(2), count(3)]
    held = upstream.hold()
    result = Result()
    sent = 0
    held.send_raw(pieces[0])
    async for chunk in make_client(upstream.url, SLOW).stream(REQUEST):
        result.text += text_of(chunk)
        result.usage = chunk.usage or result.usage
        sent += 1
        if sent < len(pieces):
            held.send_raw(pieces[sent])
        else:
            held.send_raw(b"data: [DONE]\n\n")
        await asyncio.sleep(0.1)
        forward(100)  # longer than the limit of any phase
    assert result == Result("Hello there", Usage(3, 3))


@pytest.mark.parametrize(
    ("limits", "kind"), [(Limits(stall=0.2), StreamStalled), (Limits(total=60), TotalTimeout)]
)
async def test_a_reader_that_is_away_excuses_no_silence_and_not_the_total(
    upstream: Upstream, make_client: Make, limits: Limits, kind: type[CompletionError]
) -> None:
    held = upstream.hold()
    held.send("Hello")
    texts = []

    async def read() -> None:
        async for chunk in make_client(upstream.url, limits).stream(REQUEST):
            texts.append(text_of(chunk))
            forward(100)

    with pytest.raises(kind):
        await read()
    assert texts == ["Hello"]
    assert await held.request.aclosed()
