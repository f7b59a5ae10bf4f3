"""Ask a provider while an admin waits: where it is, which models it has, whether it answers."""

import logging
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from asgiref.sync import async_to_sync
from django.utils.translation import gettext_lazy as _

from completions.addresses import check_address
from completions.client import CompletionClient
from completions.endpoint import Endpoint
from completions.errors import AddressForbidden, CompletionError
from completions.listing import ListedModel
from completions.types import ChatMessage, CompletionRequest, Limits, Usage
from organizations.models import Provider, ProviderModel
from organizations.secrets import SecretLost

logger = logging.getLogger(__name__)

LIMITS = Limits(connect=5, first_token=30, total=45, retries=0)
MOST_ANSWER_TOKENS = 16
QUESTION = "Say hello."
EXCERPT_CHARS = 300

_WORDS = {
    "unreachable": _("The address could not be reached."),
    "address_forbidden": _("The address is not public, and not allowed for this provider."),
    "misconfigured": _("The provider refused the key, or the address is wrong."),
    "model_not_found": _("The provider does not know this model, or the address is wrong."),
    "busy": _("The provider has too much to do. Try again in a minute."),
    "refused": _("The provider did not accept the request."),
    "provider_failed": _("The provider failed."),
    "protocol": _("What answered there does not speak the protocol."),
    "first_token_timeout": _("Nothing of an answer came in time."),
    "stalled": _("The answer began and then went silent."),
    "broken": _("The connection broke within the answer."),
    "total_timeout": _("The answer took too long."),
}
KEY_LOST = _("The key can't be read any more: enter it again.")


class ProbeFailed(Exception):
    """What to tell the admin: our words, and the provider's own, which never hold the key."""

    def __init__(self, words: str, provider_words: str = "") -> None:
        super().__init__(words)
        self.words = words
        self.provider_words = provider_words


class Address(Enum):
    """What the host of a URL turned out to be."""

    FINE = "fine"
    FORBIDDEN = "forbidden"
    UNKNOWN = "unknown"  # its name can't be resolved


@dataclass(frozen=True, slots=True)
class Trial:
    """What came back of a real call; times in seconds from the request on."""

    model: str
    text: str = ""  # an excerpt, or of the reasoning where there was nothing else
    is_reasoning: bool = False
    first_token_seconds: float | None = None
    usage: Usage | None = None
    failure: ProbeFailed | None = None


@async_to_sync
async def judge_address(url: str, *, allow_private: bool) -> Address:
    """Whether an endpoint at this URL, which is well-formed, may be asked."""
    try:
        await check_address(url, allow_private=allow_private)
    except AddressForbidden:
        return Address.FORBIDDEN
    except CompletionError:
        return Address.UNKNOWN
    return Address.FINE


def list_models(provider: Provider) -> tuple[ListedModel, ...]:
    """What the provider says that it has. Raises ProbeFailed."""
    return _list_models(_endpoint(provider))


def try_model(provider: Provider, model: ProviderModel) -> Trial:
    """Ask for a few words. What fails is told by the trial's `failure`."""
    try:
        endpoint = _endpoint(provider)
    except ProbeFailed as failure:
        return Trial(str(model), failure=failure)
    return _try_model(endpoint, model)


def _endpoint(provider: Provider) -> Endpoint:
    try:
        return provider.endpoint()
    except SecretLost:
        raise ProbeFailed(str(KEY_LOST)) from None


@async_to_sync
async def _list_models(endpoint: Endpoint) -> tuple[ListedModel, ...]:
    try:
        async with _client(endpoint) as client:
            return await client.list_models()
    except CompletionError as error:
        raise _failure(error) from None
    except Exception as error:
        raise _without_frames(error) from None


@async_to_sync
async def _try_model(endpoint: Endpoint, model: ProviderModel) -> Trial:
    request = CompletionRequest(
        model=model.name,
        messages=(ChatMessage("user", QUESTION),),
        max_tokens=MOST_ANSWER_TOKENS,
    )
    text = reasoning = ""
    known: dict[str, Any] = {}
    started = time.monotonic()
    try:
        async with _client(endpoint) as client, aclosing(client.stream(request)) as chunks:
            async for chunk in chunks:
                text += "".join(delta.text for delta in chunk.deltas)
                reasoning += "".join(delta.reasoning for delta in chunk.deltas)
                if text or reasoning:
                    known.setdefault("first_token_seconds", time.monotonic() - started)
                if chunk.usage:
                    known["usage"] = chunk.usage
    except CompletionError as error:
        known["failure"] = _failure(error)
    except Exception as error:
        raise _without_frames(error) from None
    excerpt = " ".join((text.strip() or reasoning).split())[:EXCERPT_CHARS]
    return Trial(str(model), excerpt, is_reasoning=not text.strip(), **known)


@asynccontextmanager
async def _client(endpoint: Endpoint) -> AsyncIterator[CompletionClient]:
    """One for this call alone: the process's own belong to its event loop."""
    client = CompletionClient(endpoint, LIMITS)
    try:
        yield client
    finally:
        await client.aclose()


def _failure(error: CompletionError) -> ProbeFailed:
    return ProbeFailed(str(_WORDS.get(error.code, error.message)), error.provider_words)


def _without_frames(error: Exception) -> Exception:
    """The same error for a report, which shows each frame's variables: these hold the key.

    Django's `sensitive_variables` covers neither other threads nor what awaits in them.
    """
    logger.error("Asking a provider failed.\n%s", traceback.format_exc())
    return error.with_traceback(None)
