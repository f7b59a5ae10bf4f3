"""The one tree of errors that asking a provider can raise, each with a stable code."""

from typing import ClassVar

PROVIDER_WORDS_CHARS = 500


class CompletionError(Exception):
    """Any way in which a completion can fail.

    The message is ours and never holds a key. detail is what the provider said about it: plain
    text on one line, at most PROVIDER_WORDS_CHARS, to be escaped like any foreign text. status is
    the HTTP status, where there was one; retry_after is in seconds, where the provider named it;
    param is the field of the request that the provider blames, where it names one.
    """

    code: ClassVar[str] = "failed"

    def __init__(
        self,
        message: str,
        *,
        detail: str = "",
        status: int | None = None,
        retry_after: float | None = None,
        param: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = one_line(detail)
        self.status = status
        self.retry_after = retry_after
        self.param = param

    @property
    def provider_words(self) -> str:
        """What the provider said, or "" where it said nothing."""
        return self.detail


class ProviderUnreachable(CompletionError):
    """No connection (refused, DNS, TLS, too slow), or it closed before the first byte."""

    code = "unreachable"


class ProviderRefused(CompletionError):
    """The provider will not answer this request (any 4xx without a better class)."""

    code = "refused"


class ProviderMisconfigured(ProviderRefused):
    """The key, the account or the address is wrong (401, 402, 403, 405, a redirect and the like):
    only an administrator can help."""

    code = "misconfigured"


class AddressForbidden(ProviderMisconfigured):
    """The provider's address is none that may be connected to (see completions.addresses)."""

    code = "address_forbidden"


class ModelNotFound(ProviderRefused):
    """The provider does not know the model, or the path (404)."""

    code = "model_not_found"


class ProviderBusy(ProviderRefused):
    """Too many requests (429); retry_after says for how long, if the provider did."""

    code = "busy"


class PromptTooLong(ProviderRefused):
    """The messages exceed the model's context."""

    code = "prompt_too_long"


class ProviderFailed(CompletionError):
    """The provider reported a failure of its own: 5xx, an error in a 200, HTML, nothing at all."""

    code = "provider_failed"


class ProviderPaused(ProviderFailed):
    """Not asked: the provider has failed several times in a row, and is left alone for
    retry_after seconds."""

    code = "paused"


class ProviderProtocolError(CompletionError):
    """What arrived is not the protocol: malformed events, or more than the limits allow."""

    code = "protocol"


class FirstTokenTimeout(CompletionError):
    """Connected, but nothing of an answer came in time."""

    code = "first_token_timeout"


class StreamBroken(CompletionError):
    """The connection broke, or ended as if complete, before the answer was: the text is half."""

    code = "broken"


class StreamStalled(StreamBroken):
    """The connection stays open, but the answer does not grow."""

    code = "stalled"


class TotalTimeout(CompletionError):
    """The answer took longer than any answer may."""

    code = "total_timeout"


def one_line(text: str) -> str:
    """Return foreign text as plain, printable text on one line, cut to PROVIDER_WORDS_CHARS."""
    # The slice first: a provider's body may be long, and only its beginning is of interest.
    head = text[: 4 * PROVIDER_WORDS_CHARS]
    printable = "".join(char if char.isprintable() else " " for char in head)
    line = " ".join(printable.split())
    if len(line) <= PROVIDER_WORDS_CHARS:
        return line
    return line[: PROVIDER_WORDS_CHARS - 1].rstrip() + "…"
