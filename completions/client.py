"""Asks a provider for a streamed completion, or its models, and closes what it opened."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import cast

import aiohttp
import httpx

from completions.breaker import Breaker
from completions.encoding import USUAL, Form, encode_request, other_form
from completions.endpoint import Endpoint
from completions.errors import (
    CompletionError,
    ProviderBusy,
    ProviderFailed,
    ProviderProtocolError,
    ProviderUnreachable,
    StreamBroken,
    TotalTimeout,
)
from completions.listing import ListedModel, read_models
from completions.reader import AnswerReader
from completions.refusals import plain_text, read_whole, refusal
from completions.timing import AnswerTimer
from completions.transport import make_transport
from completions.types import CompletionChunk, CompletionRequest, Limits

RETRY_PAUSES_SECONDS = (0.4, 1.2, 3.0)  # each times 0.5 to 1, so that callers spread
LONGEST_RETRY_PAUSE_SECONDS = 20.0
# For the end of the body after [DONE]; a connection is reused only after it.
END_SECONDS = 0.25
END_BYTES = 64 << 10
ERROR_BODY_SECONDS = 5.0
ERROR_BODY_BYTES = 64 << 10
LIST_SECONDS = 10.0
LIST_BYTES = 4 << 20
PIECE_BYTES = 64 << 10

_DEFAULT_LIMITS = Limits()
# Everything the libraries raise for a fault of the other side; ValueError and RuntimeError for
# bytes that none of them foresaw, and for a client that was closed meanwhile.
_FAULTS = (
    httpx.HTTPError,
    httpx.StreamError,
    httpx.InvalidURL,
    aiohttp.ClientError,
    OSError,
    ValueError,
    RuntimeError,
)


class CompletionClient:
    """One per endpoint, for as long as the process lives: making one takes 20 ms.

    Make it anywhere; the rest belongs to one event loop. Where it may connect to, its endpoint
    says; that is checked by the default transport only, others are for tests and measurements.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        limits: Limits = _DEFAULT_LIMITS,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._limits = limits
        # In which form a model took a request, where that is not the usual one.
        self._forms: dict[str, Form] = {}
        # The models that are known to give one choice per call (completions.fanout).
        self.one_choice_models: set[str] = set()
        # One a model: behind a gateway one may be down while the others answer.
        self._breakers: dict[str, Breaker] = {}
        self._running: set[AnswerTimer] = set()
        self._http = httpx.AsyncClient(
            transport=transport or make_transport(endpoint),
            # Proxies and .netrc would change where the key goes without a setting of ours.
            trust_env=False,
            follow_redirects=False,
            # No read timeout: reads are timed by the answer's progress, which httpx cannot see.
            timeout=httpx.Timeout(None, connect=limits.connect, pool=limits.connect),
            # A provider's cookies would be shared by everybody.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    def gives_one_choice(self, model: str) -> bool:
        """Whether several choices are to be asked for by a call each."""
        return self._endpoint.one_choice or model in self.one_choice_models

    @property
    def total_seconds(self) -> float:
        """How long an answer may take."""
        return self._limits.total

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being read by it."""
        return not self._running

    async def aclose(self) -> None:
        """Close all connections; streams that are still being read end with StreamBroken."""
        # aiohttp closes the connections, but wakes nobody who reads from one.
        for timer in list(self._running):
            timer.abort()
        await self._http.aclose()

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk, None]:
        """Yield what streams in; it ends when the answer is complete, else it raises.

        Raises only CompletionError (and passes CancelledError on). What was yielded before an
        error is real text of a half answer. Use contextlib.aclosing() around it: closing it, like
        cancelling the task that reads it, closes the connection to the provider at once.
        """
        breaker = self._breakers.get(request.model)
        if breaker is None:
            breaker = self._breakers[request.model] = Breaker(self._limits.breaker_failures)
        timer = AnswerTimer(self._limits)
        self._running.add(timer)
        try:
            with breaker.call():
                response = await self._open(request, timer)
                try:
                    reader = AnswerReader(request.n, self._limits)
                    # Not aiter_raw(): its two layers more cost and give nothing here.
                    pieces = aiter(cast(httpx.AsyncByteStream, response.stream))
                    while not reader.done:
                        piece = await _read_piece(pieces, reader, timer)
                        for chunk in reader.finish() if piece is None else reader.feed(piece):
                            if chunk.deltas:
                                breaker.succeed()
                                timer.start_stall()
                            left = timer.time()
                            yield chunk
                            timer.excuse(left)
                        if piece is None:
                            break
                        if reader.all_ended:
                            timer.start_ending()
                    if not self._endpoint.close_connections:
                        await _read_to_end(pieces)
                finally:
                    await _close(response)
        except CompletionError as error:
            self._endpoint.redact(error)
            raise
        finally:
            self._running.discard(timer)
            timer.close()

    async def list_models(self) -> tuple[ListedModel, ...]:
        """Return the models that the provider lists, in its order; asks once, without a retry.

        Raises CompletionError: ModelNotFound where there is no list at that address, TotalTimeout
        after LIST_SECONDS, ProviderProtocolError for what is no list or has more than LIST_BYTES.
        """
        try:
            async with asyncio.timeout(LIST_SECONDS):
                body = await self._read_list()
            return _decode_list(body)
        except TimeoutError:
            raise TotalTimeout("The list of models took too long.") from None
        except CompletionError as error:
            self._endpoint.redact(error)
            raise

    async def _read_list(self) -> bytes:
        headers = self._endpoint.headers() | {"Accept": "application/json"}
        url = self._endpoint.models_url()
        try:
            get = self._http.build_request("GET", url, headers=headers)
            response = await self._http.send(get, stream=True)
        except _FAULTS as fault:
            raise _before_first_byte(fault) from None
        try:
            await _require_ok(response)
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > LIST_BYTES:
                    raise ProviderProtocolError("The list of models is too long.")
            return bytes(body)
        except _FAULTS as fault:
            raise StreamBroken(f"The connection broke: {_reason(fault)}.") from None
        finally:
            await _close(response)

    async def _open(self, request: CompletionRequest, timer: AnswerTimer) -> httpx.Response:
        """Return a response with status 200, asking again where that may help."""
        attempt = 0
        form = self._forms.get(request.model, USUAL)
        while True:
            try:
                response = await self._ask(request, timer, form)
            except CompletionError as error:
                if other := other_form(form, error, request):
                    form = other
                    continue
                pause = self._pause_after(error, attempt)
                if pause is None or timer.is_over_in(pause):
                    raise
            else:
                if form != USUAL:  # it is for everybody's requests, so only what helped is kept
                    self._forms[request.model] = form
                return response
            attempt += 1
            await asyncio.sleep(pause)

    async def _ask(
        self, request: CompletionRequest, timer: AnswerTimer, form: Form
    ) -> httpx.Response:
        """Return the response to one request if its status is 200."""
        url = self._endpoint.completions_url()
        body = encode_request(request, form)
        headers = self._endpoint.headers() | {"Content-Length": str(len(body))}
        timer.start_first_token()
        try:
            post = self._http.build_request("POST", url, headers=headers, content=_cut(body))
            response = await timer.wait_for(self._http.send(post, stream=True))
        except _FAULTS as fault:
            # Without its cause: aiohttp's errors show the request's headers in their repr.
            raise _before_first_byte(fault) from None
        try:
            await _require_ok(response)
        except BaseException:
            await _close(response)
            raise
        return response

    def _pause_after(self, error: CompletionError, attempt: int) -> float | None:
        """Return for how many seconds to wait before asking again; None if it is of no use."""
        is_passing = isinstance(error, ProviderUnreachable | ProviderBusy) or (
            isinstance(error, ProviderFailed) and error.status in (502, 503, 504)
        )
        if not is_passing or attempt >= self._limits.retries or self._http.is_closed:
            return None
        if error.retry_after is None:
            longest = RETRY_PAUSES_SECONDS[min(attempt, len(RETRY_PAUSES_SECONDS) - 1)]
            return longest * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
        return error.retry_after if error.retry_after <= LONGEST_RETRY_PAUSE_SECONDS else None


async def _cut(body: bytes) -> AsyncIterator[bytes]:
    """In pieces, so that a server that does not read, and is left, costs only one of them."""
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]


async def _read_piece(
    pieces: AsyncIterator[bytes], reader: AnswerReader, timer: AnswerTimer
) -> bytes | None:
    """Return the next piece of the body, or None at its end."""
    try:
        timer.check()
        return await timer.wait_for(anext(pieces, None))
    except CompletionError:
        if reader.is_complete:  # and nothing but the usage is missing, or a choice never given
            return None
        raise
    except _FAULTS as fault:
        if reader.is_complete:
            return None
        raise StreamBroken(f"The connection broke within the answer: {_reason(fault)}.") from None


async def _read_to_end(pieces: AsyncIterator[bytes]) -> None:
    size = 0
    try:
        async with asyncio.timeout(END_SECONDS):
            async for piece in pieces:
                size += len(piece)
                if size > END_BYTES:
                    return
    except _FAULTS:  # the timeout's error among them: it is an OSError
        pass


async def _close(response: httpx.Response) -> None:
    with contextlib.suppress(*_FAULTS):  # what broke is closed, whatever it says about that
        await response.aclose()


async def _require_ok(response: httpx.Response) -> None:
    """Raise what a response says that is no 200, or that cannot be read."""
    if response.status_code != 200:
        body = await _read_error_body(response)
        raise refusal(response.status_code, response.headers, body)
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProviderProtocolError("The answer is compressed, which was not accepted.")


async def _read_error_body(response: httpx.Response) -> bytes:
    """Return the beginning of an error's body, or as much of it as comes in time."""
    body = bytearray()
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        return b""
    try:
        async with asyncio.timeout(ERROR_BODY_SECONDS):
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > ERROR_BODY_BYTES:
                    break
    except _FAULTS:
        pass
    return bytes(body[:ERROR_BODY_BYTES])


def _decode_list(body: bytes) -> tuple[ListedModel, ...]:
    if body.lstrip()[:1] == b"<":
        raise ProviderFailed("The provider answered with a page.", detail=plain_text(body))
    models = read_models(read_whole(body, "The list of models"))
    if models is None:
        raise ProviderProtocolError("What came is no list of models.")
    return models


def _before_first_byte(fault: Exception) -> CompletionError:
    is_nonsense = isinstance(fault, aiohttp.ClientResponseError) or (
        isinstance(fault, httpx.RemoteProtocolError) and "disconnected" not in str(fault)
    )
    if is_nonsense:
        return ProviderProtocolError("The provider's answer is no proper HTTP.")
    return ProviderUnreachable(f"No connection to the provider: {_reason(fault)}.")


def _reason(fault: BaseException) -> str:
    """Return the system's words for a fault, which name neither headers nor keys."""
    cause: BaseException | None = fault
    while cause is not None:
        fault = cause
        # By name: aiohttp's own certificate error is of ssl's class, but has not its attributes.
        for name in ("verify_message", "strerror"):
            if isinstance(cause, OSError) and (words := getattr(cause, name, None)):
                return str(words)
        cause = cause.__cause__ or cause.__context__
    return type(fault).__name__
