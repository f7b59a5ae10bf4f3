"""Ask the model for a conversation's title, after the first answer and beside it."""

import asyncio
import logging
import uuid

from completions.client import CompletionClient
from completions.endpoint import Endpoint
from completions.errors import CompletionError
from completions.types import ChatMessage, CompletionRequest
from conversations import wakeups
from conversations.cleaning import clean_line
from conversations.models import Conversation, Source, Turn, TurnState
from conversations.providers import endpoint_of, find_model
from organizations.models import Provider
from organizations.secrets import SecretLost

EXCERPT_LENGTH = 1000
TITLE_LENGTH = 80
TIMEOUT_SECONDS = 30.0
ASK = (
    "Write a title for the conversation below: at most six words, in its language, "
    "no quotes, no full stop. Answer with the title alone.\n\n"
)

logger = logging.getLogger(__name__)


def wanted(turn: Turn) -> tuple[Endpoint | None, CompletionRequest] | None:
    """Where to ask for a title, and how, if this was the first answer and nobody has typed a title.

    The built-in model is not asked: its titles are worse than the message's first words.
    """
    turn.refresh_from_db(fields=["state"])
    conversation = turn.conversation
    if conversation.source != Source.PAGE:
        return None
    conversation.refresh_from_db(fields=["title_is_own"])
    model = find_model(conversation.organization_id, turn.model)
    if turn.state != TurnState.COMPLETE or conversation.title_is_own or not model or model.built_in:
        return None
    if conversation.turns.exclude(pk=turn.pk).filter(state=TurnState.COMPLETE).exists():
        return None
    reply = turn.replies.order_by("pk").first()
    if reply is None:
        return None
    excerpt = f"{turn.prompt.text[:EXCERPT_LENGTH]}\n\n{reply.text[:EXCERPT_LENGTH]}"
    try:
        endpoint = endpoint_of(model)
    except (Provider.DoesNotExist, SecretLost):  # since the answer
        return None
    return endpoint, CompletionRequest(
        model=model.name,
        messages=(ChatMessage("user", ASK + excerpt),),
        temperature=0.2,
        max_tokens=200,  # a model that reasons needs some before it says the title
    )


async def ask(client: CompletionClient, request: CompletionRequest) -> str:
    """The title, or "" where none came in time: it is a nicety, never an error."""
    pieces: list[str] = []
    stream = client.stream(request)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            async for chunk in stream:
                pieces += [delta.text for delta in chunk.deltas if delta.index == 0]
    except (CompletionError, TimeoutError) as error:
        logger.info("no title: %s", type(error).__name__)
        return ""
    finally:
        await stream.aclose()
    title = clean_line("".join(pieces), 10 * TITLE_LENGTH).strip("\"'“”«»„*#. ")
    # So long an answer is something else: a model that did not understand, or explains itself.
    return title if len(title) <= TITLE_LENGTH else ""


def store(conversation_id: uuid.UUID, title: str) -> None:
    """Set it, unless a person was faster."""
    conversation = Conversation.objects.get(pk=conversation_id)
    if conversation.suggest_title(title):
        wakeups.wake(wakeups.conversation_topic(conversation_id))
