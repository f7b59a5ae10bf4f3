"""Turns a request into the JSON that providers take: only fields that are set, nothing unknown."""

import json
import re
from typing import Any, NamedTuple

import msgspec

from completions.errors import CompletionError, ProviderRefused
from completions.surrogates import without_surrogates
from completions.toolcalls import encode_tool_call
from completions.types import PASSED_ON, ChatMessage, CompletionRequest


class Form(NamedTuple):
    """In which form a provider takes a request.

    Some older servers refuse stream_options, by which the usage is asked for. OpenAI's newer
    models refuse max_tokens and want it as max_completion_tokens, which others do not know.
    """

    include_usage: bool = True
    renamed_limit: bool = False


USUAL = Form()

# "Unrecognized request argument", "Extra inputs are not permitted", "unknown field" and the like.
_SAYS_UNKNOWN = re.compile(
    r"unknown|unrecogni[sz]ed|unexpected|unsupported|unavailable|forbidden|extra|additional|"
    r"\binvalid|(not|n't)( be)? (support|permit|allow|recogni[sz]e|accept|know|valid|available)",
    re.IGNORECASE,
)


def encode_request(request: CompletionRequest, form: Form = USUAL) -> bytes:
    """Return the body of the request, which always asks for a stream.

    Of request.options only what PASSED_ON names is sent, and nothing of it replaces a field of
    ours. Raises ProviderRefused for options that are nested too deeply for JSON.
    """
    body: dict[str, Any] = {
        name: value for name, value in request.options.items() if name in PASSED_ON
    }
    body["model"] = request.model
    body["messages"] = [_encode_message(message) for message in request.messages]
    body["stream"] = True
    if form.include_usage:
        body["stream_options"] = {"include_usage": True}
    limit = "max_completion_tokens" if form.renamed_limit else "max_tokens"
    for name, value in (
        ("temperature", request.temperature),
        ("top_p", request.top_p),
        (limit, request.max_tokens),
    ):
        if value is not None:
            body[name] = value
    if request.stop:
        body["stop"] = list(request.stop)
    if request.n > 1:
        body["n"] = request.n
    try:
        return _dump(body)
    except RecursionError:
        raise ProviderRefused("The request is nested too deeply.") from None


def other_form(form: Form, error: CompletionError, request: CompletionRequest) -> Form | None:
    """Return the form to try when a request was refused for its form; None if it was not.

    A refusal that may only repeat a word of the request, such as a tool's name, is none for that.
    """
    if not isinstance(error, ProviderRefused) or error.status not in (400, 422):
        return None
    words, own = error.detail, b""
    if says_unknown := _SAYS_UNKNOWN.search(words):
        own = encode_request(request, Form(include_usage=False))
    if form.include_usage and (
        error.param.removeprefix("body.") in ("stream_options", "stream_options.include_usage")
        or (says_unknown and "stream_options" in words and b"stream_options" not in own)
    ):
        return form._replace(include_usage=False)
    if (
        request.max_tokens is not None
        and not form.renamed_limit
        and "max_completion_tokens" in words
        and (error.param == "max_tokens" or (says_unknown and b"max_completion_" not in own))
    ):
        return form._replace(renamed_limit=True)
    return None


def _encode_message(message: ChatMessage) -> dict[str, Any]:
    # "developer" is known to OpenAI only; others answer 400 or 422 to it.
    fields: dict[str, Any] = {
        "role": "system" if message.role == "developer" else message.role,
        "content": message.content,
    }
    if message.name:
        fields["name"] = message.name
    if message.tool_calls:
        fields["content"] = message.content or None
        fields["tool_calls"] = [encode_tool_call(call) for call in message.tool_calls]
    if message.tool_call_id:
        fields["tool_call_id"] = message.tool_call_id
    return fields


def _dump(body: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        # A lone surrogate somewhere: no JSON can hold it, and one character is not worth a turn.
        return msgspec.json.encode(without_surrogates(body))
    except OverflowError:
        return json.dumps(body).encode()
