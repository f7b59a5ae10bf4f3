"""Gather what a claimed turn needs: the branch, the request, where to ask, what to write."""

from collections.abc import Mapping
from typing import Any

from completions.types import ChatMessage, CompletionRequest, ToolCall
from conversations.models import ApiCall, Message, Turn
from conversations.prompts import build_prompt, sampling
from conversations.providers import OfferedModel, endpoint_of, find_model
from conversations.tree import Tree
from conversations.turns import Work
from organizations.models import Provider
from organizations.secrets import SecretLost


class NotPrepared(Exception):
    """The turn can't be asked of anybody: "model_gone", "key_lost" or "token_revoked"."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def prepare(turn: Turn) -> Work:
    """Read the branch and make the request. Raises NotPrepared."""
    model = find_model(turn.conversation.organization_id, turn.model)
    if model is None:
        raise NotPrepared("model_gone")
    try:
        endpoint = endpoint_of(model)
    except Provider.DoesNotExist:
        raise NotPrepared("model_gone") from None
    except SecretLost:
        raise NotPrepared("key_lost") from None
    call = ApiCall.objects.filter(turn=turn).first()
    if call and not call.is_allowed():
        raise NotPrepared("token_revoked")
    replies = list(turn.replies.order_by("pk").values_list("pk", "text", "reasoning"))
    return Work(
        turn=turn,
        request=_call_request(turn, call, model) if call else _page_request(turn, model),
        endpoint=endpoint,
        replies=[pk for pk, _text, _reasoning in replies],
        texts={pk: text for pk, text, _reasoning in replies},
        reasonings={pk: reasoning for pk, _text, reasoning in replies},
    )


def _page_request(turn: Turn, model: OfferedModel) -> CompletionRequest:
    end = turn.continues_id or turn.prompt_id
    prompt = build_prompt(
        _branch(turn, end),
        model,
        system_prompt=turn.system_prompt,
        parameters=turn.parameters,
        n=turn.n,
        continuing=turn.continues_id is not None,
    )
    if prompt.left_out:
        Turn.objects.filter(pk=turn.pk).update(left_out=prompt.left_out)
    return prompt.request


def _call_request(turn: Turn, call: ApiCall, model: OfferedModel) -> CompletionRequest:
    """A program's messages are sent as they are: it knows the model's context, and its errors."""
    messages = Message.objects.filter(conversation=turn.conversation_id).exclude(turn=turn)
    return CompletionRequest(
        model=model.name,
        messages=tuple(
            _chat_message(message)
            for message in messages.order_by("pk").values("role", "text", "extras")
        ),
        n=turn.n,
        options=call.options,
        **sampling(model, turn.parameters),
    )


def _chat_message(row: Mapping[str, Any]) -> ChatMessage:
    extras = row["extras"]
    return ChatMessage(
        role=row["role"],
        content=row["text"],
        tool_calls=tuple(ToolCall(**call) for call in extras.get("tool_calls", ())),
        tool_call_id=extras.get("tool_call_id", ""),
        name=extras.get("name", ""),
    )


def _branch(turn: Turn, end: int) -> list[ChatMessage]:
    messages = Message.objects.filter(conversation=turn.conversation_id)
    path = Tree(messages.order_by("pk").values_list("pk", "parent_id")).path(end)
    rows = {row["pk"]: row for row in messages.filter(pk__in=path).values("pk", "role", "text")}
    # An answer that failed before its first word says nothing.
    return [ChatMessage(rows[pk]["role"], rows[pk]["text"]) for pk in path if rows[pk]["text"]]
