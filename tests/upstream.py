"""A scriptable provider: a real HTTP server that answers chat completions as a test tells it to.

    with Upstream() as upstream:
        upstream.default = Answer(text="Hello there", rate=50)
        held = upstream.hold()                    # the next request is driven by hand
        ...                                       # something asks upstream.url
        request = held.request                    # waits for it
        held.send("Half an ans")
        held.drop()                               # reset the connection
        request.closed.wait(1)                    # or: did the client go away?

It runs in one thread with an event loop of its own, so tests may be synchronous or not (in an
async test that shares its loop with the client, use the a-methods: they never block the loop).
As a program it prints {"url": …} and serves until its standard input closes:

    python -m tests.upstream --port 0 --rate 50 --tokens 500
"""

import argparse
import asyncio
import contextlib
import json
import socket
import struct
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

WAIT_SECONDS = 60.0  # on a busy computer; nothing here takes a second
# Between the last byte and a reset: a reset overtakes what the client's kernel has not yet read.
BEFORE_RESET_SECONDS = 0.05
MAX_REQUEST_BYTES = 64 << 20
SENTENCE = "The quick brown fox jumps over the lazy dog while the river runs on to the sea. "


@dataclass(slots=True)
class Answer:
    """What to answer one request with.

    text is cut into deltas of chunk characters; of n choices, choice i gets texts[i] if texts is
    given, else the same text, and the choices' deltas alternate. reasoning comes before the text,
    tool_calls (id, name, arguments) after it, for each choice the same. rate is in deltas a second
    over all choices (None: as fast as it goes), first_delay in seconds before the headers.

    end: "done"     finish_reason, usage if asked for, [DONE], end of the body
         "finish"   the same without [DONE]
         "eof"      a clean end of the body, without finish_reason, usage or [DONE]
         "hang"     nothing more; the connection stays open until the client leaves
         "reset"    the connection is reset (RST); "close": closed in the middle of a body chunk
         "error:…"  an error event with these words, then the end of the body
    cut_after=k sends the first k characters of each choice and then ends as `end` says if that is
    "close" or "hang", else by a reset.

    status and body answer without a stream: body is bytes, str, or anything for json.dumps.
    raw is the body in exact pieces (bytes: one HTTP chunk each; float: a pause in seconds), then
    the end of the body, or whatever end says of "hang", "reset" and "close". wire is the same for
    the whole answer with status line and headers, after which the connection is closed.
    """

    text: str = SENTENCE
    texts: Sequence[str] | None = None
    reasoning: str = ""
    tool_calls: Sequence[tuple[str, str, str]] = ()
    n: int | None = None
    chunk: int = 4
    rate: float | None = None
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    end: str = "done"
    finish_reason: str = "stop"
    usage: bool = True
    first_delay: float = 0.0
    raw: list[bytes | float] | None = None
    wire: list[bytes | float] | None = None


class Received:
    """One request as it came; header names are in lower case, json is None if it was none."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        # Set when the client's side of the connection went away (not when this server cut it).
        self.closed = threading.Event()
        # Set when the answer was written to its end.
        self.finished = threading.Event()
        try:
            self.json: Any = json.loads(body) if body else None
        except ValueError:
            self.json = None

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.json["messages"])

    async def aclosed(self, seconds: float = WAIT_SECONDS) -> bool:
        """Wait for closed without blocking the loop."""
        return await asyncio.to_thread(self.closed.wait, seconds)

    async def afinished(self, seconds: float = WAIT_SECONDS) -> bool:
        """Wait for finished without blocking the loop."""
        return await asyncio.to_thread(self.finished.wait, seconds)


@dataclass(frozen=True, slots=True)
class _Say:
    delta: dict[str, Any]
    index: int


@dataclass(frozen=True, slots=True)
class _End:
    how: str
    reason: str = "stop"


@dataclass(frozen=True, slots=True)
class _Raw:
    piece: bytes


class Held:
    """A request whose answer a test sends bit by bit, from any thread; nothing here blocks but
    request and wait_closed."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, silent: bool, n: int | None = None
    ) -> None:
        self._loop = loop
        self.n = n  # how many choices it has; None: as many as are asked for
        self._steps: asyncio.Queue[_Say | _End | _Raw] = asyncio.Queue()
        self._arrived = threading.Event()
        self._received: Received | None = None
        # silent: not even headers before the first step, as a provider that still queues.
        self.silent = silent

    @property
    def request(self) -> Received:
        """The request, once it came (waits up to WAIT_SECONDS)."""
        if not self._arrived.wait(WAIT_SECONDS) or self._received is None:
            raise TimeoutError("no request came for the held answer")
        return self._received

    async def arequest(self) -> Received:
        """As request, without blocking the loop."""
        return await asyncio.to_thread(lambda: self.request)

    def wait_closed(self, seconds: float = WAIT_SECONDS) -> bool:
        """Whether the client went away within that time."""
        return self.request.closed.wait(seconds)

    def send(self, text: str, index: int = 0) -> None:
        self._step(_Say({"content": text}, index))

    def send_reasoning(self, text: str, index: int = 0) -> None:
        self._step(_Say({"reasoning_content": text}, index))

    def send_tool_call(
        self, arguments: str, call: int = 0, *, id: str = "", name: str = "", index: int = 0
    ) -> None:
        """More of the choice's tool call number `call`; with its id and name it begins."""
        self._step(_Say({"tool_calls": [_tool_call(call, id, name, arguments)]}, index))

    def send_raw(self, piece: bytes) -> None:
        """Send exact bytes of the body, such as a comment."""
        self._step(_Raw(piece))

    def finish(self, reason: str = "stop") -> None:
        self._step(_End("done", reason))

    def finish_without_done(self) -> None:
        """End the body cleanly, with neither a finish_reason nor [DONE]."""
        self._step(_End("eof"))

    def drop(self) -> None:
        """Reset the connection."""
        self._step(_End("reset"))

    def error(self, words: str) -> None:
        self._step(_End(f"error:{words}"))

    def _step(self, step: _Say | _End | _Raw) -> None:
        self._loop.call_soon_threadsafe(self._steps.put_nowait, step)

    def arrive(self, received: Received) -> None:
        self._received = received
        self._arrived.set()

    async def next_step(self) -> _Say | _End | _Raw:
        return await self._steps.get()


class Upstream:
    """The provider. With a key, requests without it (Bearer or x-api-key) get a 401."""

    def __init__(
        self, *, port: int = 0, key: str | None = None, models: Iterable[str] = ("fake-model",)
    ) -> None:
        self.default = Answer()
        self.requests: list[Received] = []
        self.key = key
        self.models = list(models)
        self.listing: Answer | None = None  # instead of the list of models
        self.connections_made = 0
        self._port = port
        self._open: set[_Connection] = set()
        self._queue: deque[Answer | Held] = deque()
        self._choose: Callable[[Received], Answer] | None = None
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._listening = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="upstream", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        self._thread.start()
        is_listening = self._listening.wait(WAIT_SECONDS)
        if self._failure is not None:
            self._thread.join(WAIT_SECONDS)
            raise self._failure
        if not is_listening:
            raise TimeoutError("the upstream does not listen")

    def close(self) -> None:
        """Stop serving; open connections are cut."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(WAIT_SECONDS)

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        """The base url, as an Endpoint wants it."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def enqueue(self, *answers: Answer) -> None:
        """Let the next requests take these answers, one each, before anything else applies."""
        self._queue.extend(answers)

    def answer_with(self, choose: Callable[[Received], Answer] | None) -> None:
        """Let a function (called in the server's thread) choose what is not enqueued."""
        self._choose = choose

    def hold(self, *, silent: bool = False, n: int | None = None) -> Held:
        """Let the next request be driven by the test; silent withholds the headers as well."""
        held = Held(self._loop, silent=silent, n=n)
        self._queue.append(held)
        return held

    def wait_for_request(self, count: int = 1, seconds: float = WAIT_SECONDS) -> Received:
        """Block until that many completions were asked for in all; return the latest of them."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, seconds):
                raise TimeoutError(f"{len(self.requests)} of {count} requests came")
            return self.requests[count - 1]

    async def await_for_request(self, count: int = 1, seconds: float = WAIT_SECONDS) -> Received:
        """As wait_for_request, without blocking the loop."""
        return await asyncio.to_thread(self.wait_for_request, count, seconds)

    def wait_left(self, seconds: float = WAIT_SECONDS) -> bool:
        """Whether no connection is open any more within that time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, seconds)

    async def aleft(self, seconds: float = WAIT_SECONDS) -> bool:
        """As wait_left, without blocking the loop."""
        return await asyncio.to_thread(self.wait_left, seconds)

    def reset(self) -> None:
        """Forget requests and scripts, for a server shared by tests."""
        with self._changed:
            self.requests.clear()
        self._queue.clear()
        self._choose = None
        self.default = Answer()

    # In the server's thread.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # handed to start()
            self._failure = error
            self._listening.set()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _serve(self) -> None:
        server = await self._loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self._port, backlog=1024
        )
        self._port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._stop.wait()
        server.close()
        tasks = [connection.stop() for connection in list(self._open)]
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # lets the aborted transports close their sockets

    def opened(self, connection: "_Connection") -> None:
        self.connections_made += 1
        self._open.add(connection)

    def lost(self, connection: "_Connection") -> None:
        with self._changed:
            self._open.discard(connection)
            self._changed.notify_all()

    def accept(self, received: Received) -> "Answer | Held":
        """Log a request for a completion and choose its answer."""
        with self._changed:
            self.requests.append(received)
            self._changed.notify_all()
        if self._queue:
            return self._queue.popleft()
        return self._choose(received) if self._choose else self.default

    def admits(self, received: Received) -> bool:
        sent = received.headers.get("x-api-key") or received.headers.get(
            "authorization", ""
        ).removeprefix("Bearer ")
        return self.key is None or sent == self.key


class _Gone(Exception):
    """The connection is over; whoever writes to it stops."""


class _Connection(asyncio.Protocol):
    """One connection. A protocol and not streams: a departed client is seen while nothing reads."""

    transport: asyncio.Transport
    task: asyncio.Task[None]

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.loop = asyncio.get_running_loop()
        self.buffer = bytearray()
        self.arrival = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.over = False
        self.cut_by_us = False
        self.logged: list[Received] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.upstream.opened(self)
        self.task = self.loop.create_task(self.serve())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.arrival.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over = True
        self.upstream.lost(self)
        if not self.cut_by_us:
            for received in self.logged:
                received.closed.set()
        self.arrival.set()
        self.writable.set()
        self.task.cancel()

    def stop(self) -> asyncio.Task[None]:
        self.cut_by_us = True
        self.transport.abort()
        self.task.cancel()
        return self.task

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.cut_by_us = True
        raw: socket.socket = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def close(self) -> None:
        self.cut_by_us = True
        self.transport.close()

    async def serve(self) -> None:
        try:
            while True:
                received = await self.read_request()
                await self.respond(received)
                received.finished.set()
                if received.headers.get("connection", "").lower() == "close":
                    self.close()
                    return
        except (asyncio.CancelledError, _Gone):
            pass
        except Exception:
            # A mistake in a test's script: show it, and do not leave the client waiting.
            traceback.print_exc()
            self.reset()

    # Requests.

    async def more(self) -> None:
        if self.over or len(self.buffer) > MAX_REQUEST_BYTES:
            raise _Gone
        self.arrival.clear()
        await self.arrival.wait()

    async def take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            await self.more()
        piece = bytes(self.buffer[:size])
        del self.buffer[:size]
        return piece

    async def take_line(self, end: bytes = b"\r\n") -> bytes:
        while (at := self.buffer.find(end)) < 0:
            await self.more()
        return (await self.take(at + len(end)))[:at]

    async def read_request(self) -> Received:
        head = (await self.take_line(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = bytearray()
            while size := int(await self.take_line(), 16):
                body += await self.take(size)
                await self.take_line()
            await self.take_line()
            return Received(method, path, headers, bytes(body))
        body_size = int(headers.get("content-length", "0"))
        return Received(method, path, headers, await self.take(body_size))

    # Answers.

    async def write(self, data: bytes) -> None:
        if self.over or self.transport.is_closing():
            raise _Gone
        self.transport.write(data)
        await self.writable.wait()

    async def write_chunk(self, data: bytes) -> None:
        if data:
            await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def respond(self, received: Received) -> None:
        path = received.path.partition("?")[0].rstrip("/")
        if not self.upstream.admits(received):
            words = "Incorrect API key provided."
            await self.write_whole(401, _error_body(words, "invalid_api_key"), {})
        elif received.method == "GET" and path.endswith("/models") and self.upstream.listing:
            await self.write_answer(received, self.upstream.listing)
        elif received.method == "GET" and path.endswith("/models"):
            listed = [
                {"id": name, "object": "model", "created": 0, "owned_by": "tests"}
                for name in self.upstream.models
            ]
            await self.write_whole(200, {"object": "list", "data": listed}, {})
        elif received.method == "POST":
            self.logged.append(received)
            answer = self.upstream.accept(received)
            if isinstance(answer, Held):
                await self.write_held(received, answer)
            else:
                await self.write_answer(received, answer)
        else:
            await self.write_whole(404, _error_body("No such path.", "not_found"), {})

    async def write_whole(self, status: int, body: Any, headers: dict[str, str]) -> None:
        if isinstance(body, str):
            body = body.encode()
        elif not isinstance(body, bytes):
            body = json.dumps(body).encode()
        own = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        await self.write(_head(status, own | headers) + body)

    async def write_answer(self, received: Received, answer: Answer) -> None:
        if answer.first_delay:
            await asyncio.sleep(answer.first_delay)
        if answer.wire is not None:
            await self.write_pieces(answer.wire, self.write)
            await self.write_end(_Events(received, answer), answer.end, answer.finish_reason)
            self.close()
            raise _Gone
        if answer.status != 200 or answer.body is not None:
            body = answer.body
            if body is None:
                body = _error_body(f"The provider says {answer.status}.", None)
            await self.write_whole(answer.status, body, answer.headers)
            return
        events = _Events(received, answer)
        if not (received.json or {}).get("stream") and answer.raw is None:
            await self.write_whole(200, events.whole(), answer.headers)
            return
        await self.write(_head(200, _STREAM_HEADERS | answer.headers))
        if answer.raw is not None:
            await self.write_pieces(answer.raw, self.write_chunk)
            await self.write_end(events, answer.end, answer.finish_reason)
            return
        await self.write_deltas(events, answer)
        how = answer.end
        if answer.cut_after is not None and how not in ("close", "hang"):
            how = "reset"
        await self.write_end(events, how, answer.finish_reason)

    async def write_pieces(
        self, pieces: list[bytes | float], write: Callable[[bytes], Any]
    ) -> None:
        for piece in pieces:
            if isinstance(piece, bytes):
                await write(piece)
            else:
                await asyncio.sleep(piece)

    async def write_deltas(self, events: "_Events", answer: Answer) -> None:
        await self.write_chunk(events.roles())
        started = self.loop.time()
        for count, event in enumerate(events.deltas(), start=1):
            await self.write_chunk(event)
            if answer.rate:
                # By the clock, not by the pause: a late delta must not delay the ones after it.
                pause = started + count / answer.rate - self.loop.time()
                await asyncio.sleep(max(0.0, pause))

    async def write_held(self, received: Received, held: Held) -> None:
        held.arrive(received)
        events = _Events(received, Answer(text="", n=held.n))
        if held.silent:
            step = await held.next_step()
            await self.write(_head(200, _STREAM_HEADERS) + _chunked(events.roles()))
        else:
            await self.write(_head(200, _STREAM_HEADERS) + _chunked(events.roles()))
            step = await held.next_step()
        while not isinstance(step, _End):
            if isinstance(step, _Raw):
                await self.write_chunk(step.piece)
            else:
                await self.write_chunk(events.delta(step.index, step.delta))
            step = await held.next_step()
        await self.write_end(events, step.how, step.reason)

    async def write_end(self, events: "_Events", how: str, reason: str) -> None:
        scripted = events.answer.raw is not None or events.answer.wire is not None
        if how == "hang":
            await self.loop.create_future()  # until connection_lost cancels this task
        elif how == "reset":
            await asyncio.sleep(BEFORE_RESET_SECONDS)
            self.reset()
            raise _Gone
        elif how == "close":
            if not scripted:
                await self.write(b"ffff\r\ndata: {")
            self.close()
            raise _Gone
        elif how.startswith("error:"):
            error = _error_body(how.removeprefix("error:"), None)
            await self.write_chunk(_event(error))
        last = b""
        if how in ("done", "finish") and not scripted:
            last = _chunked(events.ends(reason))
            last += _chunked(b"data: [DONE]\n\n") if how == "done" else b""
        if events.answer.wire is None:
            # In one piece: clients wait only for a moment for what follows [DONE].
            await self.write(last + b"0\r\n\r\n")


def _tool_call(number: int, id: str, name: str, arguments: str) -> dict[str, Any]:
    begins = {"id": id, "type": "function"} if id else {}
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return {"index": number, **begins, "function": function}


class _Events:
    """The events of one answer, in OpenAI's dialect."""

    def __init__(self, received: Received, answer: Answer) -> None:
        asked = received.json if isinstance(received.json, dict) else {}
        self.answer = answer
        self.model = asked.get("model") or "fake-model"
        self.asked_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        self.messages = asked.get("messages") or []
        count = answer.n or asked.get("n") or 1
        texts = list(answer.texts) if answer.texts is not None else [answer.text] * count
        self.texts = [text[: answer.cut_after] for text in texts]
        self.sent = 0

    def base(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        chunk = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": self.model,
            "choices": choices,
        }
        return chunk | {"usage": None} if self.asked_usage else chunk

    def event(self, index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event(self.base([choice]))

    def roles(self) -> bytes:
        start = {"role": "assistant", "content": ""}
        return b"".join(self.event(index, start) for index in range(len(self.texts)))

    def delta(self, index: int, delta: dict[str, Any]) -> bytes:
        self.sent += 1
        return self.event(index, delta)

    def deltas(self) -> Iterable[bytes]:
        """The deltas of all choices, one of each in turn."""
        size = max(1, self.answer.chunk)
        for start in range(0, len(self.answer.reasoning), size):
            thought = self.answer.reasoning[start : start + size]
            for index in range(len(self.texts)):
                yield self.delta(index, {"reasoning_content": thought})
        for start in range(0, max(map(len, self.texts)), size):
            for index, text in enumerate(self.texts):
                if piece := text[start : start + size]:
                    yield self.delta(index, {"content": piece})
        for number, (id, name, arguments) in enumerate(self.answer.tool_calls):
            for index in range(len(self.texts)):
                yield self.delta(index, {"tool_calls": [_tool_call(number, id, name, "")]})
            for start in range(0, len(arguments), size):
                call = _tool_call(number, "", "", arguments[start : start + size])
                for index in range(len(self.texts)):
                    yield self.delta(index, {"tool_calls": [call]})

    def ends(self, reason: str) -> bytes:
        """The finish_reason of each choice, and the usage if it was asked for."""
        events = [self.event(index, {}, reason) for index in range(len(self.texts))]
        if self.asked_usage and self.answer.usage:
            events.append(_event(self.base([]) | {"usage": self.usage()}))
        return b"".join(events)

    def usage(self) -> dict[str, int]:
        """Words of the prompt and deltas of the answer, so that tests can foretell both."""
        prompt = sum(len(str(message.get("content")).split()) for message in self.messages)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self.sent,
            "total_tokens": prompt + self.sent,
        }

    def beside(self) -> dict[str, Any]:
        """What a whole message has besides its text."""
        calls = [_tool_call(i, *call) for i, call in enumerate(self.answer.tool_calls)]
        found = {"reasoning_content": self.answer.reasoning, "tool_calls": calls}
        return {name: value for name, value in found.items() if value}

    def whole(self) -> dict[str, Any]:
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": text, **self.beside()},
                "finish_reason": self.answer.finish_reason,
            }
            for index, text in enumerate(self.texts)
        ]
        self.sent = sum(len(text.split()) for text in self.texts)
        kind = {"object": "chat.completion", "usage": self.usage()}
        return self.base(choices) | kind


_STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "Transfer-Encoding": "chunked",
}


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {headers[name]}" for name in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _error_body(words: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": words, "type": "upstream_error", "param": None, "code": code}}


def main() -> None:
    """Serve until standard input closes."""
    parser = argparse.ArgumentParser(description="A fake provider of chat completions.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rate", type=float, default=50.0, help="deltas a second; 0: unlimited")
    parser.add_argument("--tokens", type=int, default=500, help="deltas of an answer")
    parser.add_argument("--chunk", type=int, default=4, help="characters a delta")
    parser.add_argument("--key", default=None)
    parser.add_argument("--text", type=Path, help="a file whose text is repeated to that length")
    options = parser.parse_args()
    size = options.tokens * options.chunk
    sample = options.text.read_text() if options.text else SENTENCE
    text = (sample * (size // len(sample) + 1))[:size]
    with Upstream(port=options.port, key=options.key) as upstream:

        def answer(request: Received) -> Answer:
            most = request.json.get("max_tokens") or options.tokens
            cut = text[: most * options.chunk]
            return Answer(text=cut, chunk=options.chunk, rate=options.rate or None)

        upstream.answer_with(answer)
        print(json.dumps({"url": upstream.url}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
