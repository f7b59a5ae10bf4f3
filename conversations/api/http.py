"""One HTTP request to the endpoint, spoken in ASGI: its head, its bounded body, its answer.

Not a Django view: no cookie, CSRF check, compression or session can get between a program and its
stream, a body is refused while it arrives, and a program that goes away is noticed in every phase.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NoReturn
from urllib.parse import parse_qs

from completions.apierrors import ApiError
from completions.server import error_body

Message = MutableMapping[str, Any]
FORM_TYPE = "application/x-www-form-urlencoded"
SKIPPED_BYTES = 64 << 10  # of a body that nobody wants, to keep the connection
BODY_SECONDS = 60.0  # for all of it to arrive
JSON_TYPES = re.compile(r"application/([a-z0-9.+-]+\+)?json\s*(;.*)?", re.IGNORECASE)


class Gone(Exception):
    """The program has closed the connection."""


class Exchange:
    """A request, and the way to answer it; every answer carries `headers` too."""

    def __init__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._scheme = scope["scheme"]
        self.query = parse_qs(
            scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True
        )
        self.started = self.streams = False
        self.request_id = f"req_{secrets.token_hex(12)}"
        self.headers = {"x-request-id": self.request_id}
        self._received: dict[str, str] = {}
        for name, value in scope["headers"]:
            # Of a header that came twice the first counts.
            self._received.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        self._receive = receive
        self._send = send
        self._has_body = bool(
            self.header("transfer-encoding") or self.header("content-length").strip("0")
        )

    def header(self, name: str) -> str:
        """The value of a header (its name in lower case), "" where there is none."""
        return self._received.get(name, "").strip()

    @property
    def own_address(self) -> str:
        """Where the caller has reached us, as far as it says so."""
        return f"{self._scheme}://{self.header('host') or 'localhost'}"

    async def read_json_body(self, most: int) -> bytes:
        """The body, of at most `most` bytes. Raises ApiError 408, 413, 415 or Gone."""
        content_type = self.header("content-type")
        # curl says that it sends a form wherever it is not told otherwise.
        is_form = content_type.partition(";")[0].strip().lower() == FORM_TYPE
        if content_type and not is_form and not JSON_TYPES.fullmatch(content_type):
            _refuse_type(content_type)
        if self.header("content-encoding").lower() not in ("", "identity"):
            raise ApiError(
                415, "The body must not be compressed.", code="unsupported_content_encoding"
            )
        declared = self.header("content-length")
        if declared and (not declared.isdecimal() or int(declared[:19]) > most):
            _refuse_large(most)
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while self._has_body:
                    piece = await self._next()
                    body += piece.get("body", b"")
                    if len(body) > most:
                        _refuse_large(most)
                    self._has_body = piece.get("more_body", False)
        except TimeoutError:
            raise ApiError(408, "The body took too long to arrive.", code="timeout") from None
        if is_form and not body.lstrip().startswith(b"{"):
            _refuse_type(content_type)
        return bytes(body)

    async def wait_until_gone(self) -> None:
        """Return when the program has closed the connection. The body must have been read."""
        try:
            while True:
                await self._next()
        except Gone:
            return

    async def answer(
        self, status: int, body: bytes, content_type: str = "application/json"
    ) -> None:
        """Send a whole answer."""
        await self._start(status, content_type, {"content-length": str(len(body))})
        await self._send({"type": "http.response.body", "body": body})

    async def refuse(self, error: ApiError) -> None:
        """Send an error."""
        self.headers |= error.headers
        length = self.header("content-length")
        if self._has_body and not (length.isdecimal() and int(length[:19]) <= SKIPPED_BYTES):
            self.headers["connection"] = "close"
        await self.answer(error.status, error_body(error))

    async def start_stream(self) -> None:
        """Begin an answer of server-sent events."""
        # No buffering by nginx; a proxy that compressed would hold events back.
        more = {"x-accel-buffering": "no"}
        self.streams = True
        await self._start(200, "text/event-stream; charset=utf-8", more)

    async def send(self, piece: bytes) -> None:
        """Send a part of a streamed answer."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def _start(self, status: int, content_type: str, more: Mapping[str, str]) -> None:
        self.started = True
        headers = {
            "content-type": content_type,
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            **more,
            **self.headers,
        }
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(n.encode("ascii"), v.encode("latin-1")) for n, v in headers.items()],
            }
        )

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Gone
        return message


def _refuse_type(content_type: str) -> NoReturn:
    message = f"The body must be application/json, not {content_type[:80]!r}."
    raise ApiError(415, message, code="unsupported_media_type")


def _refuse_large(most: int) -> NoReturn:
    message = f"The body is too large: at most {most:,} bytes."
    raise ApiError(413, message, code="request_too_large")
