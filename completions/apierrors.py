"""What a caller of the served endpoint is told when there is no answer: codes into words."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from completions.errors import CompletionError, one_line

NO_RETRY = {"x-should-retry": "false"}  # OpenAI's clients repeat 409, 429 and all 5xx without it


class ApiError(Exception):
    """What a caller of the served endpoint is told instead of an answer.

    message is for people; type and code are for programs; param names the faulty field as OpenAI
    does ("messages.0.content"). headers are to be sent along, their values being ASCII.
    """

    def __init__(
        self,
        status: int,
        message: str,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = dict(headers or {})


class _Meaning(NamedTuple):
    """How a code of completions.errors, or of a turn, is told to a caller."""

    status: int
    type: str
    code: str
    message: str
    shares_words: bool = False  # the provider's own words follow the message
    repeatable: bool = True
    wait: int | None = None  # Retry-After in seconds, where the provider named none


def _bad_request(code: str, message: str) -> _Meaning:
    return _Meaning(400, "invalid_request_error", code, message, True, False)


def _upstream(
    status: int, code: str, message: str, *, shares_words: bool = False, repeatable: bool = True
) -> _Meaning:
    wait = 5 if status == 503 else None
    return _Meaning(status, "upstream_error", code, message, shares_words, repeatable, wait)


_NO_MODEL = _Meaning(
    404,
    "invalid_request_error",
    "model_not_found",
    "The model {model} does not exist.",
    repeatable=False,
)
# The provider's 401 or 403 is never the caller's: that would have them change a key that is right.
# Nor do they get its words, which may quote the key.
_MISCONFIGURED = "The provider refused this site's key or address. Tell an administrator."
_RESTARTED = "The server restarted before the answer was complete."

_MEANINGS = {
    "refused": _bad_request("provider_refused", "The provider refused the request"),
    "prompt_too_long": _bad_request(
        "context_length_exceeded", "The messages are longer than the model's context"
    ),
    "model_not_found": _NO_MODEL,
    "model_gone": _NO_MODEL,
    "busy": _Meaning(
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
        "The provider gets too many requests",
        shares_words=True,
        wait=2,
    ),
    "misconfigured": _upstream(502, "misconfigured", _MISCONFIGURED, repeatable=False),
    "not_served": _upstream(
        502,
        "misconfigured",
        "The provider does not serve this site; tell an administrator",
        shares_words=True,
        repeatable=False,
    ),
    "key_lost": _upstream(502, "misconfigured", _MISCONFIGURED, repeatable=False),
    "address_forbidden": _upstream(502, "misconfigured", _MISCONFIGURED, repeatable=False),
    "unreachable": _upstream(502, "unreachable", "The provider could not be reached."),
    "provider_failed": _upstream(502, "provider_failed", "The provider failed", shares_words=True),
    "protocol": _upstream(502, "protocol", "The provider's answer could not be read."),
    "broken": _upstream(502, "broken", "The provider's answer broke off before it was complete."),
    "failed": _upstream(502, "failed", "The provider could not answer."),
    "stalled": _upstream(504, "stalled", "The provider's answer stopped growing."),
    "first_token_timeout": _upstream(
        504, "first_token_timeout", "The provider did not begin to answer in time."
    ),
    "total_timeout": _upstream(
        504, "total_timeout", "The answer took longer than any answer may.", repeatable=False
    ),
    "paused": _upstream(
        503, "paused", "The provider has failed several times in a row and is given a rest."
    ),
    "overloaded": _upstream(503, "overloaded", "The provider is overloaded", shares_words=True),
    "built_in_unavailable": _upstream(
        503, "built_in_unavailable", "The built-in model is not running."
    ),
    "server_stopped": _Meaning(503, "server_error", "server_stopped", _RESTARTED, wait=5),
    "lost": _Meaning(503, "server_error", "server_stopped", _RESTARTED, wait=5),
    "server_killed": _Meaning(503, "server_error", "server_killed", _RESTARTED, wait=5),
    "stopped": _Meaning(
        409, "stopped", "stopped", "The answer was stopped by a person.", repeatable=False
    ),
    "token_revoked": _Meaning(
        401,
        "authentication_error",
        "invalid_api_key",
        "The access token was revoked, or has expired.",
        repeatable=False,
    ),
    "abandoned": _Meaning(
        409,
        "stopped",
        "abandoned",
        "The answer was stopped when its program closed the connection.",
        repeatable=False,
    ),
    "internal": _Meaning(500, "server_error", "internal", "Something went wrong on this server."),
}


def api_error(error: CompletionError, *, model: str = "") -> ApiError:
    """Return what a caller is told about a failed completion; never a key, never another's 401.

    model is the name that the caller used.
    """
    code = error.code
    if code == "misconfigured" and error.status not in (401, 403):
        code = "not_served"  # the words are about the account or the address, and quote no key
    if code == "provider_failed" and error.status in (503, 529):  # 529 is Anthropic's "overloaded"
        code = "overloaded"
    return _told(code, error.provider_words, model, error.retry_after)


def api_error_of_code(code: str, detail: str = "", *, model: str = "") -> ApiError:
    """Return what a caller is told about a turn that ended with this code, however long ago.

    code is one of completions.errors, or "server_stopped", "server_killed", "lost", "model_gone",
    "key_lost", "token_revoked", "stopped", "abandoned" or "internal"; an unknown one is as
    "internal". detail is the provider's words.
    """
    return _told(code if code in _MEANINGS else "internal", one_line(detail), model, None)


def _told(code: str, words: str, model: str, retry_after: float | None) -> ApiError:
    if code == "provider_failed" and "overloaded" in words.lower():
        code = "overloaded"
    meaning = _MEANINGS.get(code, _MEANINGS["failed"])
    # Quoted by repr(): the name is the caller's, and may hold anything.
    message = meaning.message.replace("{model}", repr(model) if model else "asked for")
    if meaning.shares_words:
        message += f": {words}" if words else "."
    headers = {} if meaning.repeatable else dict(NO_RETRY)
    wait = meaning.wait if retry_after is None else math.ceil(retry_after)
    if wait is not None and meaning.status in (429, 503):
        headers["retry-after"] = str(wait)
    param = "model" if meaning.code == "model_not_found" else None
    return ApiError(
        meaning.status, message, type=meaning.type, param=param, code=meaning.code, headers=headers
    )
