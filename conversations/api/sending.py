"""Send a call's answer: as one document when it has ended, or as events while it is written."""

from dataclasses import dataclass

from completions.apierrors import ApiError, api_error, api_error_of_code
from completions.parsing import ServedRequest
from completions.server import (
    DONE,
    PING,
    AnswerEncoder,
    completion_body,
    error_event,
)
from completions.types import Delta, Usage
from conversations import calls
from conversations.api.http import Exchange
from conversations.database import in_database
from conversations.following import Follower
from conversations.live import Ending
from conversations.models import ApiCall, TurnState
from conversations.prompts import estimate_tokens

# Proxies close what is silent for long, the strictest after 15 s or so. It is also for how long an
# error can still be an answer with a status of its own: after it the headers are sent.
PING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A call, and how its program wants the answer."""

    call: ApiCall
    asked: ServedRequest

    @property
    def created(self) -> int:
        return int(self.call.created_at.timestamp())

    @property
    def model(self) -> str:
        return self.call.turn.model


async def send_whole(exchange: Exchange, answer: Answer, follower: Follower) -> None:
    """Wait for the end, and send it all. Raises ApiError where there is no whole answer."""
    while follower.ending is None:
        await _news(answer, follower)
    if error := error_of(follower.ending, answer):
        raise error
    choices = follower.choices()
    texts = [choice.reasoning + choice.text for choice in choices]
    body = completion_body(
        answer.call.completion_id,
        answer.created,
        answer.model,
        choices,
        usage_of(follower.ending, answer, texts),
    )
    await exchange.answer(200, body)


async def send_streamed(exchange: Exchange, answer: Answer, follower: Follower) -> None:
    """Send it as it comes. Raises ApiError only before the first event."""
    news = await _news(answer, follower)
    if follower.ending and not news and (error := error_of(follower.ending, answer)):
        raise error
    if follower.ending and follower.is_beyond_end():
        raise ApiError(
            400, "after is beyond the end of the answer.", param="after", code="invalid_value"
        )
    encoder = AnswerEncoder(
        answer.call.completion_id,
        answer.created,
        answer.model,
        include_usage=answer.asked.include_usage,
    )
    await exchange.start_stream()
    choices = range(answer.call.turn.n)
    await exchange.send(b"".join(map(encoder.begin, choices)) + _events(encoder, news))
    while follower.ending is None:
        news = await _news(answer, follower)
        if news:
            await exchange.send(_events(encoder, news))
        elif follower.ending is None:
            await exchange.send(PING)
    await exchange.send(_end(encoder, answer, follower, follower.ending))
    await exchange.end()


async def _news(answer: Answer, follower: Follower) -> list[Delta]:
    """What came within PING_SECONDS; where nothing did, say that somebody waits."""
    news = await follower.news(PING_SECONDS)
    if not news and follower.ending is None and not follower.has_begun:
        await in_database(calls.keep_waiting, answer.call)
    return news


def _events(encoder: AnswerEncoder, news: list[Delta]) -> bytes:
    return b"".join(
        encoder.delta(n.index, text=n.text, reasoning=n.reasoning, tool_calls=n.tool_calls)
        for n in news
    )


def _end(encoder: AnswerEncoder, answer: Answer, follower: Follower, ending: Ending) -> bytes:
    """The last events: how each choice ended, or that the answer broke off."""
    if error := error_of(ending, answer):
        return error_event(error)
    choices = follower.choices()
    ends = b"".join(encoder.finish(choice.index, choice.finish_reason) for choice in choices)
    texts = [choice.reasoning + choice.text for choice in choices]
    return ends + encoder.usage(usage_of(ending, answer, texts)) + DONE


def error_of(ending: Ending, answer: Answer) -> ApiError | None:
    """What to tell of an answer that is not whole; None of one that is."""
    model = answer.asked.request.model
    if ending.state == TurnState.COMPLETE:
        return None
    if ending.error:
        return api_error(ending.error, model=model)
    code = ending.error_code or ("stopped" if ending.state == TurnState.STOPPED else "internal")
    return api_error_of_code(code, ending.error_detail, model=model)


def usage_of(ending: Ending, answer: Answer, texts: list[str]) -> Usage:
    """The tokens as the provider counted them; of what it did not count, an estimate."""
    prompt, completion = ending.prompt_tokens, ending.completion_tokens
    if prompt is None:
        prompt = sum(estimate_tokens(message.content) for message in answer.asked.request.messages)
    if completion is None:
        completion = sum(estimate_tokens(text) for text in texts if text)
    return Usage(prompt, completion)
