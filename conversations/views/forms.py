"""Forms of the conversation pages: reading them, and showing them with what was wrong."""

import uuid
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from conversations import parameters
from conversations.models import Conversation
from conversations.reading import ConversationView


def client_id_of(request: HttpRequest) -> uuid.UUID:
    """The form's id; a form without a valid one is taken as new."""
    try:
        return uuid.UUID(request.POST.get("client_id", ""))
    except ValueError:
        return uuid.uuid4()


def parameter_form(
    conversation: Conversation | ConversationView | None,
    read: parameters.Parameters | None = None,
    *,
    saved: bool = False,
) -> dict[str, Any]:
    """What `_parameters.html` shows: a part of the start page's composer, else its own form."""
    stored = parameters.typed("", {})
    summary = parameters.summary("", {})
    if conversation:
        stored = parameters.typed(conversation.system_prompt, conversation.parameters)
        summary = parameters.summary(conversation.system_prompt, conversation.parameters)
    values = read.typed if read and not read.valid else stored
    errors = read.errors if read else {}
    if read and read.valid and not conversation:
        values, summary = read.typed, parameters.summary(read.system_prompt, read.values)
    return {
        "fields": [_field(name, values[name], errors.get(name, "")) for name in parameters.NAMES],
        "summary": summary,
        "form_id": "parameters-form" if conversation else "composer",
        "url": reverse("conversation_parameters", args=[conversation.id]) if conversation else "",
        "save": conversation is not None,
        "saved": saved,
        "has_errors": bool(errors),
    }


def _field(name: str, value: str, error: str) -> dict[str, Any]:
    return {"name": name, "value": value, "error": error, **_descriptions()[name]}


def _descriptions() -> dict[str, dict[str, Any]]:
    return {
        "system_prompt": {
            "label": _("System prompt"),
            "help": _("How the model should answer in this conversation."),
            "type": "textarea",
            "attrs": {"rows": "3", "maxlength": str(parameters.SYSTEM_PROMPT_LENGTH)},
        },
        "temperature": {
            "label": _("Temperature"),
            "help": _("0 to 2; lower is more predictable."),
            "type": "number",
            "attrs": {"min": "0", "max": "2", "step": "0.1", "placeholder": _("default")},
        },
        "top_p": {
            "label": _("Top p"),
            "help": _("0 to 1; lower keeps to likely words."),
            "type": "number",
            "attrs": {"min": "0", "max": "1", "step": "0.05", "placeholder": _("default")},
        },
        "max_tokens": {
            "label": _("Longest answer"),
            "help": _("In tokens."),
            "type": "number",
            "attrs": {"min": "1", "step": "1", "placeholder": _("default")},
        },
        "stop": {
            "label": _("Stop words"),
            "help": _("One a line, at most 4: the answer ends before one."),
            "type": "textarea",
            "attrs": {"rows": "2"},
        },
        "n": {
            "label": _("Answers"),
            "help": _("How many to write side by side."),
            "type": "number",
            "attrs": {"min": "1", "max": str(parameters.MOST_ANSWERS), "step": "1"},
        },
    }
