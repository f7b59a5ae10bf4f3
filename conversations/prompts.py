"""Make the request for a turn: the path in the tree, cut to what the model can read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from completions.types import ChatMessage, CompletionRequest
from conversations.providers import OfferedModel

# Used where the model's own tokenizer is not at hand: English text has about 4 characters a
# token, most other scripts fewer; code about 3. Too low an estimate only costs a clear error.
CHARACTERS_PER_TOKEN = 3.5
OTHER_CHARACTERS_PER_TOKEN = 1.5
TOKENS_PER_MESSAGE = 6  # the template's marks around each message
DEFAULT_ANSWER_TOKENS = 1024
LEAST_PROMPT_SHARE = 0.25

ASK_TO_CONTINUE = (
    "Continue your last message from exactly where it stops. "
    "Do not repeat anything and do not comment: write only what comes next."
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request, and how many of the oldest messages did not fit."""

    request: CompletionRequest
    left_out: int


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has."""
    ascii_count = len(text.encode("ascii", "ignore"))
    other = len(text) - ascii_count
    return int(ascii_count / CHARACTERS_PER_TOKEN + other / OTHER_CHARACTERS_PER_TOKEN) + 1


def build_prompt(
    path: Sequence[ChatMessage],
    model: OfferedModel,
    *,
    system_prompt: str = "",
    parameters: Mapping[str, Any],
    n: int = 1,
    continuing: bool = False,
) -> Prompt:
    """Make the request.

    `path` is the branch, oldest first; with `continuing` it ends with the cut answer. The
    newest messages are kept, always at least the last prompt (and the cut answer).
    """
    prefix = (ChatMessage("system", system_prompt),) if system_prompt else ()
    suffix: tuple[ChatMessage, ...] = ()
    prefill = continuing and model.prefill
    if continuing and not prefill:
        suffix = (ChatMessage("user", ASK_TO_CONTINUE),)
    asked = sampling(model, parameters)
    room = _prompt_tokens(model, asked["max_tokens"]) - sum(map(_cost, prefix + suffix))
    kept = _newest(path, room, least=2 if continuing else 1)
    request = CompletionRequest(
        model=model.name, messages=(*prefix, *kept, *suffix), n=n, prefill=prefill, **asked
    )
    return Prompt(request, left_out=len(path) - len(kept))


def sampling(model: OfferedModel, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What CompletionRequest takes of `parameters`, the model's defaults where they say nothing."""
    merged = {**model.defaults, **parameters}
    asked = {name: merged.get(name) for name in ("temperature", "top_p", "max_tokens")}
    return {**asked, "stop": tuple(merged.get("stop", ()))}


def _prompt_tokens(model: OfferedModel, max_tokens: int | None) -> int:
    answer = max_tokens or min(DEFAULT_ANSWER_TOKENS, model.context_tokens // 4)
    return int(max(model.context_tokens - answer, model.context_tokens * LEAST_PROMPT_SHARE))


def _cost(message: ChatMessage) -> int:
    return estimate_tokens(message.content) + TOKENS_PER_MESSAGE


def _newest(path: Sequence[ChatMessage], room: int, *, least: int) -> tuple[ChatMessage, ...]:
    kept: list[ChatMessage] = []
    for message in reversed(path):
        room -= _cost(message)
        if room < 0 and len(kept) >= least:
            break
        kept.append(message)
    # An answer without its question misleads the model.
    while len(kept) > least and kept[-1].role == "assistant":
        kept.pop()
    return tuple(reversed(kept))
