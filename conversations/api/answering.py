"""Completions: make one, or fetch one that was made, whole or as a stream."""

import asyncio
import re
import uuid
from collections.abc import Coroutine, Sequence
from contextlib import suppress

from django.conf import settings

from completions.apierrors import ApiError
from completions.openapi import AFTER, ANSWER_ID, IDEMPOTENCY_KEY
from completions.parsing import ServedRequest, parse_request
from conversations import calls, runtime
from conversations.allowances import Rate
from conversations.api.admission import count, read_token, revoked, secret_of, show_rate
from conversations.api.http import Exchange
from conversations.api.sending import Answer, send_streamed, send_whole
from conversations.database import in_database
from conversations.following import Follower
from conversations.live import Live
from conversations.models import ApiCall
from organizations.models import AccessToken, Scope

LINGER_SECONDS = 0.4
RECHECK_SECONDS = 10.0
QUICKLY_READ_BYTES = 64 << 10


class Revoked(Exception):
    """The token was revoked, has expired, or its person has left, while the answer was written."""


async def make_completion(exchange: Exchange, organization: str) -> None:
    """POST …/ai/chat/completions"""
    secret = secret_of(exchange)
    token, rate = await in_database(_admit, secret, organization)
    show_rate(exchange, rate)
    key = exchange.header("idempotency-key") or None
    if key and not re.fullmatch(IDEMPOTENCY_KEY, key):
        message = "Idempotency-Key must be 1 to 255 visible ASCII characters."
        raise ApiError(400, message, param="Idempotency-Key", code="invalid_value")
    body = await exchange.read_json_body(settings.API_MAX_BODY_BYTES)
    # Reading 3 MB of brackets takes 1.5 s, and others are streaming.
    asked = (
        parse_request(body)
        if len(body) < QUICKLY_READ_BYTES
        else await asyncio.to_thread(parse_request, body)
    )
    if _is_draining():
        raise ApiError(
            503,
            "The server is restarting.",
            type="server_error",
            code="server_stopping",
            headers={"retry-after": "2"},
        )
    current = await runtime.start()
    call = await in_database(
        calls.start_call,
        uuid.uuid4(),
        token,
        asked,
        owner=current.runner.owner,
        key=key,
        body=body,
    )
    await _answer(exchange, token, call, asked)


async def fetch_completion(exchange: Exchange, organization: str, completion: str) -> None:
    """GET …/ai/chat/completions/{id}: when it has ended; as a stream, from a place in it."""
    secret = secret_of(exchange)
    stream, after = _read_query(exchange)
    current = await runtime.start()
    token, call = await in_database(_find, secret, organization, completion, current.runner.owner)
    asked = await in_database(calls.asked_of, call, stream=stream)
    await _answer(exchange, token, call, asked, after=after)


def _admit(secret: str, organization: str) -> tuple[AccessToken, Rate | None]:
    token = read_token(secret, organization, Scope.CHAT)
    return token, count(token)


def _find(
    secret: str, organization: str, completion: str, owner: str
) -> tuple[AccessToken, ApiCall]:
    token = read_token(secret, organization, Scope.CHAT)
    with suppress(ApiCall.DoesNotExist):
        if re.fullmatch(ANSWER_ID, completion):
            call = calls.find_call(token, uuid.UUID(completion.removeprefix("chatcmpl-")))
            # What is not kept can be read only where it is written.
            if call.stored or (call.turn.is_running and call.turn.lease_owner == owner):
                return token, call
    raise ApiError(
        404,
        "There is no such completion, or its text was not kept.",
        param="id",
        code="completion_not_found",
    )


def _read_query(exchange: Exchange) -> tuple[bool, list[int]]:
    stream = exchange.query.get("stream", ["false"])[-1].lower()
    if stream not in ("true", "false", "1", "0"):
        raise ApiError(400, "stream must be true or false.", param="stream", code="invalid_value")
    is_stream = stream in ("true", "1")
    after = exchange.query.get("after", ["0"])[-1]
    if not re.fullmatch(AFTER, after):
        message = "after must be a number of characters for each choice, as in 120 or 120,80."
        raise ApiError(400, message, param="after", code="invalid_value")
    return is_stream, [int(number) for number in after.split(",")]


async def _answer(
    exchange: Exchange,
    token: AccessToken,
    call: ApiCall,
    asked: ServedRequest,
    *,
    after: Sequence[int] = (),
) -> None:
    """Send the answer as it comes, unless the program goes away or loses its right to it.

    `token` is the reader's: it need not be the one that made the call.
    """
    current = await runtime.start()
    follower = Follower(call.turn, current.live, current.runner.owner, after)
    try:
        with follower:
            send = send_streamed if asked.stream else send_whole
            await _first_of(
                send(exchange, Answer(call, asked), follower),
                exchange.wait_until_gone(),
                _until_revoked(token, call),
            )
    except Revoked:
        await in_database(calls.abandon_unless_allowed, call)
        raise revoked() from None
    finally:
        if follower.ending is None and follower.is_ours and not call.key:
            await asyncio.shield(_leave(call, current.live))


async def _first_of(*works: Coroutine[None, None, None]) -> None:
    """Run them until one ends, and end the others; raises what that one raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_revoked(token: AccessToken, call: ApiCall) -> None:
    """Raises Revoked when the reader's token does not allow it any more.

    Where the token that made the call has ended, so does its turn, and readers see that end.
    """
    while True:
        await asyncio.sleep(RECHECK_SECONDS)
        if not await in_database(AccessToken.objects.usable().filter(pk=token.pk).exists):
            raise Revoked
        if token.pk != call.token_id:
            await in_database(calls.abandon_unless_allowed, call)


async def _leave(call: ApiCall, live: Live) -> None:
    """End a turn that nobody reads any more. (With a key it goes on: they will ask again.)"""
    # A connection that broke may be taken up again at once; a provider that is left for good
    # must be so within a second.
    await asyncio.sleep(LINGER_SECONDS)
    if not live.has_readers(call.turn_id):
        await in_database(calls.abandon, call)


def _is_draining() -> bool:
    current = runtime.current()
    return current is not None and current.runner.is_draining
