"""The served endpoint, through the whole application: what a program sends, and what it gets."""

import asyncio
import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from completions.types import Limits
from conversations import actions
from conversations.api import answering, sending
from conversations.database import in_database
from conversations.models import ApiCall, Conversation, Message, Source, Turn, TurnState
from conversations.providers import find_model
from conversations.runtime import Runtime
from organizations.models import AccessToken, Audience, Auth, Provider, ProviderModel, Scope
from tests.completions.clock import forward
from tests.conftest import Cast
from tests.conversations.programs import ASKED, Answered, Program, issue, until
from tests.upstream import Answer, Upstream

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def program(running: Runtime, cast: Cast) -> Program:
    """A program of Bob's, who is no admin."""
    secret = await in_database(lambda: issue(cast.membership(cast.bob)))
    return Program(cast.organization, secret)


async def calls() -> list[ApiCall]:
    found = ApiCall.objects.select_related("turn", "turn__conversation").order_by("created_at")
    return await in_database(lambda: list(found))


def event_of(delta: dict[str, Any]) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


async def only_call() -> ApiCall:
    (call,) = await calls()
    return call


async def until_ended() -> ApiCall:
    """The newest call once its turn has ended."""
    await until(lambda: not Turn.objects.latest("pk").is_running)
    return (await calls())[-1]


# --- Answers ---------------------------------------------------------------------------------


async def test_a_whole_answer(program: Program, upstream: Upstream) -> None:
    upstream.default = Answer("Because of scattering.", reasoning="Light. ")
    # What a browser or a proxy would say: nothing is compressed, nothing is open to other sites.
    headers = {"accept-encoding": "gzip, br", "origin": "https://elsewhere.example"}
    answered = await program.ask(
        headers=headers, temperature=0.5, max_tokens=50, stop=["END"], top_p=0.9
    )
    call = await only_call()
    assert answered.status == 200
    assert "content-encoding" not in answered.headers
    assert not [name for name in answered.headers if name.startswith("access-control-")]
    assert answered.json == {
        "id": call.completion_id,
        "object": "chat.completion",
        "created": int(call.created_at.timestamp()),
        "model": "test-model",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Because of scattering.",
                    "refusal": None,
                    "reasoning_content": "Light. ",
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": answered.json["usage"],
    }
    usage = answered.json["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    asked = upstream.requests[0].json
    sent = {name: asked[name] for name in ("temperature", "max_tokens", "stop", "top_p")}
    assert sent == {"temperature": 0.5, "max_tokens": 50, "stop": ["END"], "top_p": 0.9}
    assert answered.headers["x-request-id"].startswith("req_")
    assert "set-cookie" not in answered.headers


async def test_a_streamed_answer(program: Program, upstream: Upstream) -> None:
    held = upstream.hold()
    headers = {
        "x-api-key": program.token,
        "accept-encoding": "gzip, br",
        "origin": "https://elsewhere.example",
    }
    async with program.calling(body=ASKED | {"stream": True}, headers=headers) as answered:
        await held.arequest()
        held.send("Because ")
        await answered.until_text("Because ")
        assert not answered.ended
        held.send("of scattering.")
        held.finish()
        await answered.until(lambda it: it.ended)
    assert answered.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "content-encoding" not in answered.headers
    assert "content-length" not in answered.headers
    assert not [name for name in answered.headers if name.startswith("access-control-")]
    first, *rest, last, done = answered.events
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert answered.text() == "Because of scattering."
    assert last["choices"][0] == {
        "index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"
    }  # fmt: skip
    assert done == "[DONE]"
    assert {(e["id"], e["created"], e["model"]) for e in (first, *rest, last)} == {
        (first["id"], first["created"], "test-model")
    }
    assert all("usage" not in event for event in (first, *rest, last))


async def test_usage_is_streamed_where_it_was_asked_for(
    program: Program, upstream: Upstream
) -> None:
    answered = await program.ask(stream=True, stream_options={"include_usage": True})
    *chunks, usage, done = answered.events
    assert done == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] > 0
    assert all(chunk["usage"] is None for chunk in chunks)


async def test_tokens_that_the_provider_does_not_count_are_estimated(
    program: Program, upstream: Upstream
) -> None:
    upstream.default = Answer("Because of scattering.", usage=False)
    usage = (await program.ask()).json["usage"]
    assert usage["prompt_tokens"] > 3
    assert usage["completion_tokens"] > 3


async def test_several_answers_where_the_provider_gives_one(
    program: Program, upstream: Upstream
) -> None:
    upstream.answer_with(lambda received: Answer("One answer.", n=1))
    answered = await program.ask(n=3)
    choices = answered.json["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in choices} == {"One answer."}
    streamed = await program.ask(n=2, stream=True)
    assert [streamed.text(index) for index in (0, 1)] == ["One answer.", "One answer."]
    ends = [e["choices"][0] for e in streamed.events[:-1] if e["choices"][0]["finish_reason"]]
    assert [end["index"] for end in ends] == [0, 1]


async def test_tools_pass_through_and_their_calls_come_back(
    program: Program, upstream: Upstream
) -> None:
    call = {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Bern"}'},
    }
    chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    raw = [f"data: {json.dumps(event)}\n\n".encode() for event in (chunk, end)]
    upstream.default = Answer(raw=[*raw, b"data: [DONE]\n\n"])
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    answered = await program.ask(tools=tools, tool_choice="auto")
    choice = answered.json["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": call["function"]}
    ]
    assert upstream.requests[0].json["tools"] == tools
    streamed = await program.ask(stream=True, tools=tools)
    deltas = [e["choices"][0]["delta"] for e in streamed.events[:-1]]
    assert [d["tool_calls"] for d in deltas if "tool_calls" in d] == [[call]]


async def test_a_conversation_with_tools_is_sent_as_it_is(
    program: Program, upstream: Upstream
) -> None:
    called = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "  Weather?\n"},
        {"role": "assistant", "content": None, "tool_calls": called},
        {"role": "tool", "tool_call_id": "c1", "content": "Sunny"},
    ]
    await program.ask(messages=messages)
    assert upstream.requests[0].json["messages"] == messages


# --- Who may ---------------------------------------------------------------------------------


def _session_key() -> str:
    """Of a browser in which the token's owner has signed in."""
    session = SessionStore()
    user = AccessToken.objects.select_related("user").get().user
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)


REFUSED_TOKENS: dict[str, Callable[[str], dict[str, str]]] = {
    "none": lambda token: {},
    "empty": lambda token: {"x-api-key": ""},
    "unknown": lambda token: {"x-api-key": "cs_nonsense"},
    "not ascii": lambda token: {"x-api-key": "cs_\xe9\xff"},
    "a session": lambda token: {"cookie": f"sessionid={_session_key()}"},
    "basic": lambda token: {"authorization": f"Basic {token}"},
    "x-api-key wins over a good bearer": lambda token: {
        "x-api-key": "cs_nonsense",
        "authorization": f"Bearer {token}",
    },
}


@pytest.mark.parametrize("name", REFUSED_TOKENS)
async def test_without_a_good_token_the_answer_is_401(program: Program, name: str) -> None:
    headers = await in_database(REFUSED_TOKENS[name], program.token)
    answered = await program.call(body=b"not even read", headers=headers)
    assert (answered.status, answered.error["code"]) == (401, "invalid_api_key")
    assert answered.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
async def test_a_bearer_is_as_good(program: Program, upstream: Upstream, scheme: str) -> None:
    headers = {"authorization": f"{scheme} {program.token}"}
    answered = await program.call(body=ASKED, headers=headers)
    assert answered.status == 200


def _revoke(token: AccessToken) -> None:
    token.revoke(token.user)


def _expire(token: AccessToken) -> None:
    AccessToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def _leave(token: AccessToken) -> None:
    token.user.memberships.all().delete()


def _deactivate(token: AccessToken) -> None:
    token.user.is_active = False
    token.user.save()


@pytest.mark.parametrize("end", [_revoke, _expire, _leave, _deactivate])
async def test_a_token_that_ended_is_refused_at_once(
    program: Program, upstream: Upstream, end: Callable[[AccessToken], None]
) -> None:
    assert (await program.ask()).status == 200
    token = await in_database(AccessToken.objects.select_related("user").get)
    await in_database(end, token)
    assert (await program.ask()).status == 401


async def test_another_organization_answers_as_none_does(program: Program, cast: Cast) -> None:
    paths = [str(cast.elsewhere.pk), str(uuid.uuid4()), "nonsense", "%00", "x" * 300]
    answers = [
        await program.call(body=ASKED, base=f"/api/organizations/{path}/ai") for path in paths
    ]
    assert {answer.status for answer in answers} == {404}
    assert len({answer.body for answer in answers}) == 1


@pytest.mark.parametrize("spelling", [str.upper, str.lower, lambda text: text.replace("-", "")])
async def test_the_organization_in_any_case(
    program: Program, upstream: Upstream, cast: Cast, spelling: Callable[[str], str]
) -> None:
    base = f"/api/organizations/{spelling(str(cast.organization.pk))}/ai"
    assert (await program.call(body=ASKED, base=base)).status == 200


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [(Scope.MODELS, "POST", "/chat/completions"), (Scope.CHAT, "GET", "/models"),
     (Scope.CHAT, "GET", "/models/test-model"), (Scope.MODELS, "GET", "/chat/completions/x")],
)  # fmt: skip
async def test_a_scope_allows_no_more(
    program: Program, cast: Cast, scope: Scope, method: str, path: str
) -> None:
    membership = await in_database(cast.membership, cast.bob)
    program.token = await in_database(lambda: issue(membership, scopes=(scope,)))
    answered = await program.call(method, path, ASKED)
    assert (answered.status, answered.error["code"]) == (403, "insufficient_scope")


async def test_use_is_noted(program: Program, upstream: Upstream) -> None:
    await program.ask()
    token = await in_database(AccessToken.objects.get)
    assert token.last_used_at is not None


# --- What is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/chat/completions", "POST"),
        ("DELETE", "/chat/completions", "POST"),
        ("OPTIONS", "/chat/completions", "POST"),
        ("POST", "/models", "GET"),
        ("PUT", "/models/a/b", "GET"),
        ("POST", "/chat/completions/chatcmpl-1", "GET"),
    ],
)
async def test_another_method_is_405(
    program: Program, method: str, path: str, allowed: str
) -> None:
    answered = await program.call(method, path)
    assert (answered.status, answered.headers["allow"]) == (405, allowed)
    assert answered.error["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/", "", "/chat", "/embeddings", "/models\x00"])
async def test_another_path_is_404(program: Program, path: str) -> None:
    answered = await program.call("GET", path)
    assert answered.status == 404
    assert answered.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("APPLICATION/JSON", 200),
        ("application/vnd.api+json", 200),
        ("application/x-www-form-urlencoded", 200),  # curl, where it is not told otherwise
        ("text/plain", 415),
        ("application/jsonp", 415),
    ],
)
async def test_only_json_is_read(
    program: Program, upstream: Upstream, content_type: str, status: int
) -> None:
    answered = await program.ask(headers={"content-type": content_type})
    assert answered.status == status


async def test_a_compressed_body_is_refused(program: Program) -> None:
    assert (await program.ask(headers={"content-encoding": "gzip"})).status == 415


async def test_a_large_body_is_refused_before_it_is_read(program: Program, settings: Any) -> None:
    settings.API_MAX_BODY_BYTES = 5000
    declared = await program.ask(headers={"content-length": "5001"})
    assert (declared.status, declared.error["code"]) == (413, "request_too_large")
    assert "connection" not in declared.headers  # so little is read to its end
    chunked = await program.call(pieces=[b" " * 1000] * 100)
    assert chunked.status == 413
    assert chunked.unread == 94  # of the sixth it was too much
    nonsense = await program.ask(headers={"content-length": "9" * 30})
    assert nonsense.status == 413
    assert nonsense.headers["connection"] == chunked.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[" * 100_000, None),
        (b"\xff\xfe", None),
        (b'{"model": "test-model", "messages": [], "n": 1e999}', "n"),
        (ASKED | {"messages": [{"role": "user", "content": "\x00"}]}, "messages.0.content"),
        (ASKED | {"n": True}, "n"),
        (ASKED | {"temperature": 2.5}, "temperature"),
        (ASKED | {"model": None}, "model"),
        (
            ASKED
            | {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
                ]
            },
            "messages.0.content.0",
        ),
    ],
)
async def test_a_bad_body_is_400_with_its_field(
    program: Program, body: Any, param: str | None
) -> None:
    answered = await program.call(body=body)
    assert (answered.status, answered.error["param"]) == (400, param)
    assert not await calls()


async def test_an_unknown_model_is_404(program: Program) -> None:
    answered = await program.ask(model="no-such")
    assert (answered.status, answered.error["code"]) == (404, "model_not_found")
    assert answered.error["param"] == "model"


# --- When the provider fails -----------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (Answer(status=400, body={"error": {"message": "no such field"}}), 400, "provider_refused"),
        (Answer(status=401, body={"error": "wrong key: provider-key"}), 502, "misconfigured"),
        (Answer(status=403, body=""), 502, "misconfigured"),
        (Answer(status=404, body={"error": {"message": "model x"}}), 404, "model_not_found"),
        (Answer(status=429, headers={"Retry-After": "77"}), 429, "rate_limit_exceeded"),
        (Answer(status=500, body="<html>oops"), 502, "provider_failed"),
        (Answer(body="<html>login"), 502, "provider_failed"),
        (Answer(end="error:out of memory", text=""), 502, "provider_failed"),
    ],
)
async def test_a_failure_before_the_first_word_has_its_status(
    program: Program, upstream: Upstream, answer: Answer, status: int, code: str, stream: bool
) -> None:
    upstream.default = answer
    answered = await program.ask(stream=stream)
    assert (answered.status, answered.error["code"]) == (status, code)
    assert "provider-key" not in answered.body.decode()
    if status == 429:
        assert answered.headers["retry-after"] == "77"
    assert (await only_call()).turn.state == TurnState.FAILED


@pytest.mark.parametrize("end", ["reset", "eof", "close"])
async def test_an_answer_that_breaks_off_ends_with_an_error(
    program: Program, upstream: Upstream, end: str
) -> None:
    upstream.default = Answer("Half an answer", end=end, cut_after=4 if end != "eof" else None)
    streamed = await program.ask(stream=True)
    *chunks, error = streamed.events
    assert error["error"]["code"] == "broken"
    assert all(c["finish_reason"] is None for chunk in chunks for c in chunk["choices"])
    assert streamed.text().startswith("Half")
    whole = await program.ask()
    assert (whole.status, whole.error["code"]) == (502, "broken")


async def test_a_silent_provider_is_504(
    program: Program, upstream: Upstream, running: Runtime, settings: Any
) -> None:
    settings.FIRST_TOKEN_TIMEOUT_SECONDS = 0.2
    upstream.default = Answer(first_delay=5)
    assert (await program.ask()).status == 504


async def test_while_nothing_comes_comments_keep_the_connection(
    program: Program, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "PING_SECONDS", 0.02)
    held = upstream.hold(silent=True)
    async with program.asking(stream=True) as answered:
        await answered.until(lambda it: it.body.count(b": ping\n\n") >= 2)
        held.send("Late.")
        held.finish()
        await answered.until(lambda it: it.ended)
    assert answered.text() == "Late."
    assert answered.events[-1] == "[DONE]"


# --- A program that goes away ----------------------------------------------------------------


@pytest.mark.parametrize("phase", ["before the first word", "midway", "not streamed"])
async def test_a_program_that_goes_away_stops_the_provider(
    program: Program, upstream: Upstream, phase: str
) -> None:
    held = upstream.hold(silent=phase == "before the first word")
    async with program.asking(stream=phase != "not streamed") as answered:
        request = await held.arequest()
        if phase == "midway":
            held.send("Half")
            await answered.until_text("Half")
        answered.leave()
        assert await request.aclosed()
    call = await until_ended()
    assert (call.turn.state, call.abandoned) == (TurnState.STOPPED, True)


async def test_what_it_had_is_kept(program: Program, upstream: Upstream) -> None:
    held = upstream.hold()
    async with program.asking(stream=True) as answered:
        await held.arequest()
        held.send("Half")
        await answered.until_text("Half")
        answered.leave()
    call = await until_ended()
    rest = await program.call("GET", f"/chat/completions/{call.completion_id}?stream=true&after=2")
    assert rest.text() == "lf"
    assert rest.events[-1]["error"]["code"] == "abandoned"
    whole = await program.call("GET", f"/chat/completions/{call.completion_id}")
    assert whole.status == 409


async def test_a_connection_that_broke_is_taken_up_at_once(
    program: Program, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "LINGER_SECONDS", 30)
    held = upstream.hold()
    async with program.asking(stream=True) as answered:
        request = await held.arequest()
        held.send("First half, ")
        await answered.until_text("First half, ")
        call = await only_call()
        answered.leave()
        path = f"/chat/completions/{call.completion_id}?stream=true&after=12"
        async with program.calling("GET", path) as resumed:
            await resumed.until(lambda it: it.status == 200 or it.ended)
            forward(31)  # nobody came back to the first one
            held.send("second half.")
            await resumed.until_text("second half.")
            assert not request.closed.is_set()
            held.finish()
            await resumed.until(lambda it: it.ended)
    assert (resumed.text(), resumed.events[-1]) == ("second half.", "[DONE]")


async def test_of_two_readers_that_leave_together_nobody_is_left(
    program: Program, upstream: Upstream
) -> None:
    held = upstream.hold()
    async with program.asking(stream=True) as answered:
        request = await held.arequest()
        held.send("Half")
        await answered.until_text("Half")
        path = f"/chat/completions/{(await only_call()).completion_id}?stream=true"
        async with program.calling("GET", path) as second:
            await second.until_text("Half")
            second.leave()
            answered.leave()
            assert await request.aclosed()
    assert (await until_ended()).abandoned


def test_who_leaves_is_noticed_within_a_second() -> None:
    """The rest of it, closing the connection to the provider, takes no time of its own."""
    assert answering.LINGER_SECONDS <= 0.5


async def test_a_provider_that_fails_is_left_alone_by_all_calls(
    program: Program, upstream: Upstream, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(retries=0, breaker_failures=2)
    monkeypatch.setattr("conversations.upstream._limits", lambda: limits)
    upstream.default = Answer(status=503)
    codes = [(await program.ask()).error["code"] for _ in range(3)]
    assert codes == ["overloaded", "overloaded", "paused"]
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [("x-api-key", "x-api-key", "test-key"), ("bearer", "authorization", "Bearer test-key")],
)
async def test_the_environments_key_goes_to_the_gateways_address(
    program: Program, upstream: Upstream, settings: Any, auth: str, name: str, value: str
) -> None:
    settings.COMPLETIONS_AUTH = auth
    settings.COMPLETIONS_URL = f"{upstream.url}/api/organizations/8c7b/ai"
    assert (await program.ask()).status == 200
    (request,) = upstream.requests
    assert request.headers[name] == value
    assert ({"x-api-key", "authorization"} & set(request.headers)) == {name}


async def test_who_only_looks_on_ends_nothing(
    program: Program, upstream: Upstream, settings: Any
) -> None:
    settings.RUNNER_TURNS = 1
    held = upstream.hold()
    async with program.asking(stream=True) as first:
        await held.arequest()
        async with program.asking(stream=True) as queued:
            await until(lambda: ApiCall.objects.count() == 2)
            path = f"/chat/completions/{(await calls())[-1].completion_id}?stream=true"
            async with program.calling("GET", path) as looking:
                looking.leave()
            await asyncio.sleep(answering.LINGER_SECONDS + 0.2)
            held.finish()
            await queued.until(lambda it: it.ended)
            await first.until(lambda it: it.ended)
    assert queued.events[-1] == "[DONE]"


@pytest.mark.parametrize("end", [_revoke, _leave])
@pytest.mark.parametrize("keyed", [True, False])
async def test_an_answer_ends_with_the_right_to_it(
    program: Program,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[AccessToken], None],
    keyed: bool,
) -> None:
    monkeypatch.setattr(answering, "RECHECK_SECONDS", 0.05)
    held = upstream.hold()
    headers = {"x-api-key": program.token} | ({"idempotency-key": "k"} if keyed else {})
    async with program.calling(body=ASKED | {"stream": True}, headers=headers) as answered:
        request = await held.arequest()
        held.send("Half")
        await answered.until_text("Half")
        await in_database(end, await in_database(AccessToken.objects.select_related("user").get))
        await answered.until(lambda it: it.ended)
        assert await request.aclosed()
    assert answered.events[-1]["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(("ends", "code"), [("first", "abandoned"), ("second", "invalid_api_key")])
async def test_who_reads_with_another_token_loses_it_with_that_one(
    program: Program, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, ends: str, code: str
) -> None:
    """And where the one that asked is revoked, the answer ends for all its readers."""
    monkeypatch.setattr(answering, "RECHECK_SECONDS", 0.05)
    first = await in_database(AccessToken.objects.select_related("user").get)
    membership = await in_database(first.user.memberships.get)
    second, secret = await in_database(AccessToken.issue, membership, "Second")
    held = upstream.hold()
    async with program.asking(stream=True) as asking:
        await held.arequest()
        held.send("Half")
        await asking.until_text("Half")
        path = f"/chat/completions/{(await only_call()).completion_id}?stream=true"
        async with program.calling("GET", path, headers={"x-api-key": secret}) as reading:
            await reading.until_text("Half")
            await in_database(_revoke, first if ends == "first" else second)
            await reading.until(lambda it: it.ended)
            assert reading.events[-1]["error"]["code"] == code
        held.finish()
        await asking.until(lambda it: it.ended)
    assert (asking.events[-1] == "[DONE]") is (ends == "second")


async def test_what_is_queued_when_the_right_ends_is_not_asked(
    program: Program, upstream: Upstream, settings: Any
) -> None:
    settings.RUNNER_TURNS = 1
    held = upstream.hold()
    async with program.asking() as first:
        await held.arequest()
        headers = {"x-api-key": program.token, "idempotency-key": "k"}
        async with program.calling(body=ASKED, headers=headers) as queued:
            await until(lambda: ApiCall.objects.count() == 2)
            token = await in_database(AccessToken.objects.select_related("user").get)
            await in_database(_revoke, token)
            held.finish()
            await queued.until(lambda it: it.ended)
        await first.until(lambda it: it.ended)
    assert (queued.status, queued.error["code"]) == (401, "invalid_api_key")
    assert len(upstream.requests) == 1


async def test_a_server_that_stops_tells_those_who_wait(
    program: Program, upstream: Upstream, settings: Any, running: Runtime
) -> None:
    settings.RUNNER_TURNS = 1
    held = upstream.hold()
    async with program.asking() as first:
        await held.arequest()
        async with program.asking(stream=True) as queued:
            await until(lambda: ApiCall.objects.count() == 2)
            await running.runner.stop_claiming()
            await queued.until(lambda it: it.ended)
        assert (queued.status, queued.error["code"]) == (503, "server_stopped")
        assert "retry-after" in queued.headers
        late = await program.ask()
        assert (late.status, late.error["code"]) == (503, "server_stopping")
        held.finish()
        await first.until(lambda it: it.ended)
    assert first.status == 200


async def test_the_name_of_a_tool_that_comes_late_is_told_once(
    program: Program, upstream: Upstream
) -> None:
    held = upstream.hold()
    function = {"type": "function", "function": {"name": "weather"}}
    parts: list[dict[str, Any]] = [
        {"index": 0, "id": "c1", "type": "function", "function": {"arguments": ""}},
        {"index": 0, "function": {"name": "weather"}},
        {"index": 0, "function": {"arguments": "{}"}},
    ]
    async with program.asking(stream=True, tools=[function]) as answered:
        await held.arequest()
        for part in parts:
            held.send_raw(event_of({"tool_calls": [part]}))
            await asyncio.sleep(0.05)
        held.finish("tool_calls")
        await answered.until(lambda it: it.ended)
    deltas = [e["choices"][0]["delta"] for e in answered.events[:-1]]
    told = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert [call["function"].get("name") for call in told if call["function"].get("name")] == [
        "weather"
    ]
    assert told[0]["function"]["name"] == "weather"
    assert "".join(call["function"].get("arguments", "") for call in told) == "{}"


async def test_a_deleted_call_is_no_answer_to_come_back_to(
    program: Program, upstream: Upstream, cast: Cast
) -> None:
    key = {"idempotency-key": "k"}
    first = await program.ask(headers=key)
    conversation = (await only_call()).turn.conversation
    await in_database(actions.delete, conversation, cast.bob)
    assert (await program.ask(headers=key)).json["id"] != first.json["id"]
    assert len(upstream.requests) == 2


async def test_one_that_goes_away_before_its_turn_begins_costs_nothing(
    program: Program, upstream: Upstream, settings: Any, running: Runtime
) -> None:
    settings.RUNNER_TURNS = 1
    held = upstream.hold()
    async with program.asking(stream=True) as first:
        await held.arequest()
        async with program.asking(stream=True) as second:
            await until(lambda: ApiCall.objects.count() == 2)
            second.leave()
        assert (await calls())[-1].turn.state == TurnState.STOPPED
        held.finish()
        await first.until(lambda it: it.ended)
    assert len(upstream.requests) == 1


async def test_one_with_a_key_comes_back_for_its_answer(
    program: Program, upstream: Upstream
) -> None:
    held = upstream.hold()
    headers = {"x-api-key": program.token, "idempotency-key": "order-1"}
    body = ASKED | {"stream": True}
    async with program.calling(body=body, headers=headers) as answered:
        await held.arequest()
        held.send("First half, ")
        await answered.until_text("First half, ")
        answered.leave()
    call = await only_call()
    path = f"/chat/completions/{call.completion_id}"
    async with program.calling("GET", f"{path}?stream=true&after=6") as resumed:
        await resumed.until_text("half, ")
        held.send("second half.")
        held.finish()
        await resumed.until(lambda it: it.ended)
    assert resumed.text() == "half, second half."
    assert resumed.events[-1] == "[DONE]"
    again = await program.call(body=body, headers=headers)
    assert again.text() == "First half, second half."
    assert {event["id"] for event in again.events[:-1]} == {call.completion_id}
    whole = await program.call("GET", path)
    assert whole.json["choices"][0]["message"]["content"] == "First half, second half."
    assert len(upstream.requests) == 1


# --- Idempotency -----------------------------------------------------------------------------


async def test_the_same_key_and_body_is_asked_once(program: Program, upstream: Upstream) -> None:
    key = {"idempotency-key": "k"}
    first, second = await asyncio.gather(program.ask(headers=key), program.ask(headers=key))
    assert (first.status, first.json) == (200, second.json)
    assert len(upstream.requests) == 1


async def test_the_same_key_with_another_body_is_422(program: Program, upstream: Upstream) -> None:
    await program.ask(headers={"idempotency-key": "k"})
    other = await program.ask(headers={"idempotency-key": "k"}, temperature=1)
    assert (other.status, other.error["code"]) == (422, "idempotency_mismatch")


async def test_a_key_belongs_to_its_token(program: Program, upstream: Upstream, cast: Cast) -> None:
    first = await program.ask(headers={"idempotency-key": "k"})
    program.token = await in_database(lambda: issue(cast.membership(cast.bob)))
    second = await program.ask(headers={"idempotency-key": "k"})
    assert first.json["id"] != second.json["id"]


async def test_a_failure_is_no_answer_to_come_back_to(program: Program, upstream: Upstream) -> None:
    upstream.enqueue(Answer(status=400))
    key = {"idempotency-key": "k"}
    assert (await program.ask(headers=key)).status == 400
    assert (await program.ask(headers=key)).status == 200


@pytest.mark.parametrize("key", ["x" * 256, "with space", "ümlaut"])
async def test_a_bad_key_is_400(program: Program, key: str) -> None:
    answered = await program.ask(headers={"idempotency-key": key})
    assert (answered.status, answered.error["param"]) == (400, "Idempotency-Key")


# --- Fetching --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    ["?after=x", "?stream=maybe", "?stream=true&after=-1", "?stream=true&after=x",
     "?stream=true&after=1,,2", "?stream=true&after=99999", "?stream=true&after=" + "9" * 30],
)  # fmt: skip
async def test_a_bad_place_to_go_on_from_is_400(
    program: Program, upstream: Upstream, query: str
) -> None:
    made = (await program.ask()).json["id"]
    answered = await program.call("GET", f"/chat/completions/{made}{query}")
    assert answered.status == 400


async def test_going_on_is_exact_in_characters_and_for_each_choice(
    program: Program, upstream: Upstream
) -> None:
    texts = ["ünï🎈code and more", "second choice"]
    upstream.default = Answer(texts=texts, reasoning="Hm.")
    made = (await program.ask(n=2)).json["id"]
    path = f"/chat/completions/{made}?stream=true&after="
    for first in range(len(texts[0]) + 1):
        answered = await program.call("GET", f"{path}{first},3")
        assert [answered.text(0), answered.text(1)] == [texts[0][first:], texts[1][3:]]
        assert answered.text(0, "reasoning_content") == ("" if first else "Hm.")
    assert (await program.call("GET", f"{path}4")).text(1) == texts[1]


async def test_a_completion_is_its_owners(program: Program, upstream: Upstream, cast: Cast) -> None:
    made = (await program.ask()).json["id"]
    alices = await in_database(lambda: issue(cast.membership(cast.alice)))
    found = await Program(cast.organization, alices).call("GET", f"/chat/completions/{made}")
    unknown = await program.call("GET", f"/chat/completions/chatcmpl-{'0' * 32}")
    odd = await program.call("GET", "/chat/completions/nonsense")
    assert {found.status, unknown.status, odd.status} == {404}
    assert found.body == unknown.body == odd.body


# --- History ---------------------------------------------------------------------------------


async def test_every_call_is_kept(program: Program, upstream: Upstream, cast: Cast) -> None:
    upstream.default = Answer("Because.")
    messages = [{"role": "system", "content": "Be brief."}, *ASKED["messages"]]
    await program.ask(messages=messages, temperature=0.1)
    call = await only_call()
    turn, conversation = call.turn, call.turn.conversation
    assert (turn.state, turn.author_id, turn.model) == ("complete", cast.bob.pk, "test-model")
    assert (call.token_name, conversation.source) == ("Script", Source.API)
    assert conversation.title == "Why is the sky blue?"
    assert turn.parameters == {"temperature": 0.1}
    stored = conversation.messages.order_by("pk").values_list("role", "text")
    assert await in_database(lambda: list(stored)) == [
        ("system", "Be brief."),
        ("user", "Why is the sky blue?"),
        ("assistant", "Because."),
    ]
    await in_database(conversation.refresh_from_db)
    leaf = await in_database(lambda: conversation.leaf)
    assert leaf is not None
    assert leaf.text == "Because."


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_text_is_left_out_where_the_organization_allows_it(
    program: Program, upstream: Upstream, cast: Cast, allowed: bool
) -> None:
    cast.organization.allows_unstored_calls = allowed
    await in_database(cast.organization.save)
    upstream.default = Answer("A secret answer.", reasoning="Secret thoughts.")
    answered = await program.ask(store=False)
    assert answered.json["choices"][0]["message"]["content"] == "A secret answer."
    call = await only_call()
    texts = await in_database(lambda: str(list(Message.objects.values())) + str(
        list(Conversation.objects.values())))  # fmt: skip
    assert ("secret" in texts.lower() or "sky" in texts) is not allowed
    assert call.stored is not allowed
    assert call.turn.completion_tokens
    fetched = await program.call("GET", f"/chat/completions/{call.completion_id}")
    assert fetched.status == (404 if allowed else 200)


async def test_a_persons_limit_does_not_count_their_programs_calls(
    program: Program, upstream: Upstream, cast: Cast, settings: Any
) -> None:
    from conversations.actions import create_with_turn
    from conversations.parameters import Parameters

    settings.TURNS_PER_MINUTE = 1
    await program.ask()
    await in_database(
        lambda: create_with_turn(
            cast.membership(cast.bob), "Hello", uuid.uuid4(), model="", parameters=Parameters()
        )
    )


# --- Models ----------------------------------------------------------------------------------


async def test_models_are_listed_and_shown(program: Program) -> None:
    listed = await program.call("GET", "/models")
    assert listed.json["object"] == "list"
    assert [model["id"] for model in listed.json["data"]] == ["test-model", "other-model"]
    shown = await program.call("GET", "/models/other-model")
    assert shown.json == listed.json["data"][1]
    assert shown.json["object"] == "model"
    missing = await program.call("GET", "/models/no-such")
    assert (missing.status, missing.error["code"]) == (404, "model_not_found")


async def test_an_organizations_own_provider_answers(
    program: Program, upstream: Upstream, cast: Cast
) -> None:
    def add(audience: Audience) -> ProviderModel:
        provider = Provider(
            organization=cast.organization,
            name="Own",
            base_url=upstream.url,
            auth=Auth.BEARER,
            allows_private=True,
        )
        provider.set_key("own-key-123456")
        provider.save()
        return ProviderModel.objects.create(
            organization=cast.organization,
            provider=provider,
            name="big",
            public_id="own/big",
            audience=audience,
            defaults={"temperature": 0.3},
            label="Our big one",
            context_tokens=1000,
            prompt_price=Decimal("2.5"),
            completion_price=Decimal(10),
        )

    model = await in_database(add, Audience.ADMINS)
    assert (await program.ask(model="own/big")).status == 404  # Bob is no admin
    assert (await program.call("GET", "/models/own/big")).status == 404
    assert "own/big" not in await _listed(program)
    await in_database(ProviderModel.objects.filter(pk=model.pk).update, audience=Audience.EVERYONE)
    assert (await program.call("GET", "/models/own/big")).json["owned_by"] == "Own"
    assert "own/big" in await _listed(program)
    offered = await in_database(find_model, cast.organization.pk, "own/big")
    assert offered is not None
    assert (offered.label, offered.context_tokens) == ("Our big one", 1000)
    answered = await program.ask(model="own/big")
    assert (answered.status, answered.json["model"]) == (200, "own/big")
    request = upstream.requests[-1]
    assert request.headers["authorization"] == "Bearer own-key-123456"
    assert (request.json["model"], request.json["temperature"]) == ("big", 0.3)
    turn = (await only_call()).turn
    assert (turn.prompt_price, turn.completion_price) == (Decimal("2.5"), Decimal(10))


async def _listed(program: Program) -> list[str]:
    return [each["id"] for each in (await program.call("GET", "/models")).json["data"]]


# --- Limits ----------------------------------------------------------------------------------


async def test_each_token_has_its_rate(
    program: Program, upstream: Upstream, cast: Cast, settings: Any
) -> None:
    settings.API_TOKEN_REQUESTS_PER_MINUTE = 2
    answers = [await program.ask() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert [a.headers["x-ratelimit-remaining-requests"] for a in answers] == ["1", "0", "0"]
    assert {a.headers["x-ratelimit-limit-requests"] for a in answers} == {"2"}
    assert all(answer.headers["x-ratelimit-reset-requests"] for answer in answers)
    assert answers[2].error["type"] == "rate_limit_error"
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30
    other = await in_database(lambda: issue(cast.membership(cast.bob)))
    assert (await Program(cast.organization, other).ask()).status == 200


async def test_the_organization_has_its_rate(
    program: Program, upstream: Upstream, cast: Cast, settings: Any
) -> None:
    settings.API_TOKEN_REQUESTS_PER_MINUTE = 0
    settings.API_ORGANIZATION_REQUESTS_PER_MINUTE = 1
    assert (await program.ask()).status == 200
    other = await in_database(lambda: issue(cast.membership(cast.alice)))
    assert (await Program(cast.organization, other).ask()).status == 429


async def test_without_limits_there_are_no_headers(
    program: Program, upstream: Upstream, settings: Any
) -> None:
    settings.API_TOKEN_REQUESTS_PER_MINUTE = settings.API_ORGANIZATION_REQUESTS_PER_MINUTE = 0
    answered = await program.ask()
    assert not [name for name in answered.headers if name.startswith("x-ratelimit")]


async def test_programs_leave_places_for_people(
    program: Program, upstream: Upstream, cast: Cast, settings: Any, running: Runtime
) -> None:
    from conversations.actions import create_with_turn
    from conversations.parameters import Parameters

    settings.RUNNER_TURNS = 4
    helds = [upstream.hold() for _ in range(3)]
    async with (
        program.asking() as first, program.asking() as second,
        program.asking() as third, program.asking() as fourth,
    ):  # fmt: skip
        for held in helds:
            await held.arequest()
        await until(lambda: ApiCall.objects.count() == 4)
        conversation = await in_database(
            lambda: create_with_turn(
                cast.membership(cast.alice), "Hi", uuid.uuid4(), model="", parameters=Parameters()
            )
        )
        await until(lambda: not conversation.turns.get().is_running)
        assert await in_database(Turn.objects.filter(state=TurnState.QUEUED).count) == 1
        for held in helds:
            held.finish()
        for answered in (first, second, third, fourth):
            await answered.until(lambda it: it.ended)


async def test_an_error_of_ours_is_json_too(
    program: Program, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr("conversations.api.answering._admit", fail)
    answered: Answered = await program.ask()
    assert (answered.status, answered.error["code"]) == (500, "internal")
    assert "on purpose" not in answered.body.decode()
    assert answered.headers["x-request-id"] in caplog.text


async def test_the_description_is_for_everybody_and_names_the_place(
    program: Program, settings: Any
) -> None:
    found = await program.call("GET", "/api/openapi.json", base="", headers={"host": "a.example"})
    assert (found.status, found.json["openapi"][:3]) == (200, "3.1")
    assert found.json["servers"] == [{"url": "http://a.example"}]
    settings.PUBLIC_URL = "https://chat.example.org"
    found = await program.call("GET", "/api/openapi.json", base="", headers={})
    assert found.json["servers"] == [{"url": "https://chat.example.org"}]
