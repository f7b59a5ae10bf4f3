"""Finds out what a provider's error says, whatever shape it has, and gives it its class."""

import html
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from completions.codec import MalformedJson, decode_json, read_field
from completions.errors import (
    CompletionError,
    ModelNotFound,
    PromptTooLong,
    ProviderBusy,
    ProviderFailed,
    ProviderMisconfigured,
    ProviderProtocolError,
    ProviderRefused,
    StreamBroken,
    one_line,
)

LONGEST_RETRY_AFTER_SECONDS = 86_400.0
LONGEST_WORDS_CHARS = 4_000
LONGEST_PARAM_CHARS = 100

_TOO_LONG_CODES = {"exceed_context_size_error", "context_length_exceeded"}
_TOO_LONG_WORDS = re.compile(
    r"context[ _](length|size|window)|(prompt|input) is too long", re.IGNORECASE
)
# What an answer's events have, and a list of models, but no error that is a bare "detail".
_ANSWERS = frozenset({"choices", "usage", "object", "data", "id"})
_WORDS = ("message", "detail", "msg", "error_description", "reason", "title")


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error as the provider put it."""

    words: str
    codes: frozenset[str] = frozenset()
    status: int | None = None  # the code where that is an HTTP status, as OpenRouter's
    param: str = ""  # the field of the request that it blames

    @property
    def is_too_long(self) -> bool:
        return bool(self.codes & _TOO_LONG_CODES or _TOO_LONG_WORDS.search(self.words))


def find_complaint(value: object) -> Complaint | None:
    """Return the error that an event, or a body with status 200, is or holds; None if none."""
    if isinstance(value, list):
        found = [complaint for item in value[:8] if (complaint := _find_error(item))]
        return found[0] if found else None
    if complaint := _find_error(value):
        return complaint
    if not isinstance(value, dict) or not value.keys().isdisjoint(_ANSWERS):
        return None
    # FastAPI's errors have nothing else to be known by.
    detail = value.get("detail")
    return read_complaint(value) if detail and isinstance(detail, str | list) else None


def _find_error(value: object) -> Complaint | None:
    if not isinstance(value, dict):
        return None
    if value.get("error") or "error" in (value.get("type"), value.get("object")):
        return read_complaint(value)
    error = read_field(value.get("x_groq"), "error")
    return read_complaint({"error": error}) if error else None


def read_complaint(value: object) -> Complaint:
    """Return the words and codes of a JSON value that is known to be an error."""
    if isinstance(value, list) and value:
        value = value[0]
    codes = []
    for part in (value, read_field(value, "error")):
        names = (read_field(part, "code"), read_field(part, "type"))
        codes += [name for name in names if isinstance(name, str)]
    blamed = read_field(read_field(value, "error"), "param") or read_field(value, "param")
    param = one_line(blamed)[:LONGEST_PARAM_CHARS] if isinstance(blamed, str) else ""
    status = _read_status(read_field(read_field(value, "error"), "code")) or _read_status(
        read_field(value, "code")
    )
    words = _find_words(value)[:LONGEST_WORDS_CHARS]
    return Complaint(words, frozenset(codes), status, param)


def _read_status(code: object) -> int | None:
    if isinstance(code, str) and re.fullmatch("[45][0-9]{2}", code):
        return int(code)
    return code if isinstance(code, int) and 400 <= code < 600 else None


def read_body(body: bytes) -> Complaint:
    """Return what the body of an error says: JSON of any shape, HTML, text, or nothing."""
    try:
        value = decode_json(body)
    except MalformedJson:
        return Complaint(plain_text(body))
    return read_complaint(value)


def plain_text(body: bytes) -> str:
    """Return the text of a page: its title if it has one, else what stands between the tags."""
    text = body[: 4 * LONGEST_WORDS_CHARS].decode("utf-8", "replace")
    if not text.lstrip("\ufeff \t\r\n").startswith("<"):
        return text[:LONGEST_WORDS_CHARS]
    title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
    if title and title[1].strip():
        return html.unescape(title[1])[:LONGEST_WORDS_CHARS]
    text = re.sub(r"<(script|style)\b.*?(</\1\s*>|\Z)", " ", text, flags=re.IGNORECASE | re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>?", " ", text))[:LONGEST_WORDS_CHARS]


# The account's balance, the path, the proxy: nothing that another request could do better.
NOT_THE_CALLERS = (402, 405, 406, 407, 411, 415)


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> CompletionError:
    """Return the error for an answer whose status is not 200. Header names are in lower case."""
    return _refusal(status, read_body(body), retry_after(headers))


def _refusal(status: int, complaint: Complaint, wait: float | None) -> CompletionError:
    detail: dict[str, Any] = {
        "detail": complaint.words,
        "status": status,
        "param": complaint.param,
    }
    if 300 <= status < 400:
        return ProviderMisconfigured("The address redirects elsewhere.", **detail)
    if status in (401, 403):
        return ProviderMisconfigured("The provider does not accept the key.", **detail)
    if status in NOT_THE_CALLERS:
        words = f"The provider does not serve this site ({status})."
        return ProviderMisconfigured(words, **detail)
    if status == 408:
        return ProviderFailed("The provider gave up waiting.", **detail)
    if status == 404 or (status == 400 and "model_not_found" in complaint.codes):
        return ModelNotFound("The provider does not know this model or address.", **detail)
    if status == 429:
        return ProviderBusy("The provider gets too many requests.", **detail, retry_after=wait)
    if status in (400, 413, 422) and complaint.is_too_long:
        return PromptTooLong("The prompt is longer than the model's context.", **detail)
    if 400 <= status < 500:
        return ProviderRefused(f"The provider refused the request ({status}).", **detail)
    return ProviderFailed(f"The provider failed ({status}).", **detail, retry_after=wait)


def read_whole(body: bytes, what: str) -> Any:
    """Return a body's JSON value. Raises what it says went wrong, or that `what` is no JSON."""
    try:
        value = decode_json(body)
    except MalformedJson:
        raise ProviderProtocolError(f"{what} is no JSON.", detail=plain_text(body)) from None
    if complaint := find_complaint(value):
        raise failure(complaint)
    return value


def failure(complaint: Complaint) -> CompletionError:
    """Return the error for one that came with status 200, as the body or within the stream.

    Where its code is a status, it is what an answer with that status would be.
    """
    status = complaint.status
    if status and status < 500:
        return _refusal(status, complaint, None)
    if complaint.is_too_long:  # whatever went wrong over it
        return PromptTooLong(
            "The prompt is longer than the model's context.", detail=complaint.words
        )
    if "broken" in complaint.codes:  # as Chatsite's own endpoint tells of its provider
        return StreamBroken("The provider's own answer broke off.", detail=complaint.words)
    if status:
        return _refusal(status, complaint, None)
    return ProviderFailed("The provider reported an error.", detail=complaint.words)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return for how many seconds not to ask again; None if it is not said, or makes no sense."""
    # LiteLLM passes the header of its own upstream on under the second name only.
    value = headers.get("retry-after") or headers.get("llm_provider-retry-after") or ""
    for text, unit in ((headers.get("retry-after-ms") or "", 1000), (value, 1)):
        try:
            seconds = float(text) / unit
        except ValueError:
            seconds = _seconds_until(text)
        if math.isfinite(seconds) and seconds >= 0:
            return min(seconds, LONGEST_RETRY_AFTER_SECONDS)
    return None


def _seconds_until(date: str) -> float:
    try:
        when = parsedate_to_datetime(date)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return math.nan


def _find_words(value: object, depth: int = 0) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        several = [_find_words(item, depth + 1) for item in value[:4]] if depth < 4 else []
        return "; ".join(words for words in several if words)
    if not isinstance(value, dict) or depth > 4:
        return ""
    nested = value.get("error") or value.get("errors")
    if nested and (words := _find_words(nested, depth + 1)):
        return words
    for name in _WORDS:
        if value.get(name) and (words := _find_words(value[name], depth + 1)):
            return words + _aside(value)
    return str(value.get("code") or value.get("type") or "")


def _aside(value: dict[Any, Any]) -> str:
    """What else explains an error: FastAPI's place of the fault, OpenRouter's own upstream."""
    place = value.get("loc")
    if isinstance(place, list):
        return f" ({'.'.join(str(step) for step in place[:6])})"
    raw = read_field(value.get("metadata"), "raw")
    return f": {raw}" if isinstance(raw, str) else ""
