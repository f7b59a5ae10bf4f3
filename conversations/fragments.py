"""Values → HTML through templates: the same fragments for the page and for the pushes.

A page is a set of regions, elements with an id, each rendered whole. What changed since a viewer
was last told is found by comparing the HTML itself, so no kind of change can be forgotten.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from html import escape
from typing import Any

from django.conf import settings
from django.template.loader import get_template
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from conversations.actions import Refused
from conversations.blocks import Blocks
from conversations.live import Change, LiveMessage, LiveTurn
from conversations.models import Source
from conversations.providers import OfferedModel
from conversations.reading import AlternativesView, ConversationView, Item, MessageView
from conversations.sidebar import sidebar_row
from conversations.upstream import ModelStatus
from conversations.wording import refusal, thought

# A message that is shown again after that many others is rendered again. A longer one always is: of
# 20,000 characters each they take 2,000 × 60 kB at most, and a program's message may have millions.
FINISHED_ITEMS = 2000
MOST_KEPT_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class Page:
    """A conversation's page as HTML: the thread's items in order, and the other regions."""

    items: dict[str, str]  # dom id → HTML
    regions: dict[str, str]
    running: frozenset[str]  # dom ids of items that are still being written
    outlines: dict[str, str] = field(default_factory=dict)  # those items without their text

    def everything(self) -> dict[str, str]:
        """All of it, by dom id."""
        return {**self.items, **self.regions}

    @property
    def digest(self) -> str:
        """Names what the page shows; running items count by their place alone: they come anew."""
        hasher = hashlib.sha256()
        for dom_id, html in self.everything().items():
            hasher.update(f"{dom_id}\0{'' if dom_id in self.running else html}\0".encode())
        return hasher.hexdigest()[:16]


def render_page(view: ConversationView, status: ModelStatus | None) -> Page:
    """Render everything but what is being written. Needs no live view: for any thread."""
    language = get_language() or ""
    items = {i.dom_id: "" if _is_running(i) else _finished(i, language) for i in view.items}
    running = frozenset(item.dom_id for item in view.items if _is_running(item))
    return Page(items, _regions(view, status), running)


def fill_running(page: Page, view: ConversationView, live_turn: LiveTurn | None) -> None:
    """Render what is being written: from the live view (call in its loop), else from the log."""
    if live_turn:
        live_turn.catch_up()
    for item in view.items:
        if item.dom_id in page.running:
            page.items[item.dom_id] = _item(item, live_turn)
            if live_turn:  # without one nothing is followed, and there is nothing to compare
                page.outlines[item.dom_id] = _item(item, live_turn, without_text=True)


def page_difference(shown: Mapping[str, str] | None, page: Page) -> str:
    """The frame that makes a viewer's page this one; `shown` is what it has: dom id → HTML.

    A region or item is replaced where its HTML differs; new items at the end are appended. Where
    nothing is known of the viewer (None) or the order changed (another branch), the whole thread
    is replaced.
    """
    known = shown or {}
    parts = [html for dom_id, html in page.regions.items() if known.get(dom_id) != html]
    before = [dom_id for dom_id in known if dom_id not in page.regions]
    items = list(page.items)
    if shown is None or items[: len(before)] != before:
        everything = "".join(page.items.values())
        return "".join([f'<div hx-swap-oob="innerHTML:#thread">{everything}</div>', *parts])
    parts += [page.items[dom_id] for dom_id in before if known[dom_id] != page.items[dom_id]]
    if added := "".join(page.items[dom_id] for dom_id in items[len(before) :]):
        parts.append(f'<div hx-swap-oob="beforeend:#thread">{added}</div>')
    return "".join(parts)


def frame(changes: tuple[Change, ...]) -> str:
    """What a viewer lacks of messages whose element it has. Hot: 20 times a second a stream."""
    return "".join(map(_change, changes))


def render(template: str, **context: Any) -> str:
    """One fragment: `_name.html` of this package's templates."""
    return get_template(f"conversations/{template}").render(context).strip()


def refusal_notice(error: Refused, level: str = "warning") -> dict[str, str]:
    """What `_notice.html` shows of something that was not done."""
    words = refusal(
        error.code, seconds=error.seconds, name=error.name, limit=settings.TURNS_PER_MINUTE
    )
    return {"level": level, "text": words.title, "advice": words.advice}


def conversation_context(view: ConversationView) -> dict[str, Any]:
    """What the templates know of the conversation."""
    return {
        "id": view.id,
        "title": view.title or _("New chat"),
        "model": view.model,
        "may_write": view.may_write,
        "is_owner": view.is_owner,
        "shared": view.shared,
        "owner_name": view.owner_name,
        "running": view.running_turn is not None,
        "source": view.source,
        "token_name": view.token_name,
        "is_kept": view.is_kept,
        "fork_url": reverse("conversation_fork", args=[view.id]),
        **{
            f"{name}_url": reverse(f"conversation_{name}", args=[view.id])
            for name in ("send", "stop", "title", "parameters", "model", "sharing", "delete")
        },
        "url": reverse("conversation_detail", args=[view.id]),
    }


def model_choices(models: Iterable[OfferedModel], current: str) -> list[dict[str, Any]]:
    """The selector's options; a model that is gone stands first, so that one sees it."""
    choices = [
        {
            "id": model.id,
            "label": model.label,
            "short_label": model.short_label,
            "selected": model.id == current,
            "gone": False,
        }
        for model in models
    ]
    if current and not any(choice["selected"] for choice in choices):
        gone = _("%s (not offered any more)") % current
        choices.insert(
            0,
            {"id": current, "label": gone, "short_label": gone, "selected": True, "gone": True},
        )
    return choices


def _regions(view: ConversationView, status: ModelStatus | None) -> dict[str, str]:
    conversation = conversation_context(view)
    models = model_choices(view.models, view.model)
    if any(model.id == view.model and not model.built_in for model in view.models):
        status = None  # how the built-in model is says nothing about this one
    regions = {
        "conversation-header": render("_header.html", conversation=conversation, models=models),
        "composer-action": render(
            "_composer_action.html",
            running=view.running_turn is not None,
            stop_url=conversation["stop_url"],
            may_write=view.may_write,
        ),
        "model-status": render("_model_status.html", status=status),
        "announcer": render("_announcer.html", text=_announcement(view)),
    }
    if view.source == Source.PAGE:  # calls of programs have no row in the sidebar
        row = sidebar_row(
            view.id,
            view.title,
            running=view.running_turn is not None,
            current=True,
            shared_by="" if view.is_owner else view.owner_name,
        )
        regions[row["dom_id"]] = render("_sidebar_item.html", item=row)
    return regions


def _announcement(view: ConversationView) -> str:
    if view.running_turn is not None:
        return _("Answer started.")
    return {
        "complete": _("Answer finished."),
        "stopped": _("Answer stopped."),
        "failed": _("Answer failed."),
        "interrupted": _("Answer interrupted."),
    }.get(view.last_state, "")


def _finished(item: Item, language: str) -> str:
    messages = item.messages if isinstance(item, AlternativesView) else (item,)
    chars = sum(len(each.source) + len(each.html) + len(each.reasoning) for each in messages)
    return _finished_item(item, language) if chars <= MOST_KEPT_CHARS else _item(item, None)


@lru_cache(maxsize=FINISHED_ITEMS)
def _finished_item(item: Item, language: str) -> str:
    """One that does not change any more: rendered once for all viewers and all changes elsewhere.

    Measured, a page of 44 messages took 21 ms at each start and end of an answer, for each viewer.
    """
    return _item(item, None)


def _is_running(item: Item) -> bool:
    if isinstance(item, AlternativesView):
        return any(message.running for message in item.messages)
    return item.running


def _item(item: Item, live_turn: LiveTurn | None, *, without_text: bool = False) -> str:
    if isinstance(item, AlternativesView):
        turn = {
            "id": item.id,
            "dom_id": item.dom_id,
            "count": len(item.messages),
            "messages": [
                _message_context(m, live_turn, without_text=without_text) for m in item.messages
            ],
        }
        return render("_alternatives.html", turn=turn)
    return render(
        "_message.html", message=_message_context(item, live_turn, without_text=without_text)
    )


def _message_context(
    view: MessageView, live_turn: LiveTurn | None, *, without_text: bool = False
) -> dict[str, Any]:
    context = {name: getattr(view, name) for name in MessageView.__slots__}
    context |= {
        "dom_id": view.dom_id,
        "text": view.source,
        "regenerate_url": _url("message_regenerate", view.id, view.may_regenerate),
        "continue_url": _url("message_continue", view.id, view.may_continue),
        "choose_url": _url("message_show", view.id, view.may_choose),
        "retry_url": _url(
            "message_regenerate",
            view.id,
            view.may_regenerate and view.state in ("failed", "interrupted"),
        ),
        "error": _error_context(view),
        "versions": _versions_context(view),
        "has_reasoning": bool(view.reasoning),
        "is_thinking": False,
        "thought": thought(view.thought_seconds),
    }
    if view.running:
        message = live_turn.messages.get(view.id) if live_turn else None
        context |= _running_context(view, message)
        if without_text:
            texts = ("done_html", "soft_html", "tail_html", "reasoning", "thought")
            context |= {**dict.fromkeys(texts, ""), "is_thinking": False}
        if live_turn:
            context["first_token_seconds"] = live_turn.first_token_seconds
    return context


def _running_context(view: MessageView, live: LiveMessage | None) -> dict[str, Any]:
    if live:
        blocks = live.blocks
    else:
        blocks = Blocks(view.source)
        blocks.update()
    # As `LiveMessage` has it: what follows is appended.
    reasoning = live.reasoning.lstrip() if live else view.reasoning
    is_thinking = live.is_thinking if live else not view.source
    visible = bool(blocks.chunks or blocks.soft or blocks.tail or reasoning)
    return {
        "state": "streaming" if visible else "waiting",
        "done_html": "".join(blocks.chunks),
        "soft_html": blocks.soft,
        "tail_html": blocks.tail,
        "source": "",  # copied when it is whole
        "reasoning": reasoning,
        "has_reasoning": bool(reasoning),
        "is_thinking": is_thinking,
        "thought": thought(live.thought_seconds if live else None, is_thinking=is_thinking),
    }


def _error_context(view: MessageView) -> Mapping[str, str] | None:
    return asdict(view.error) | {"detail": view.error_detail} if view.error else None


def _versions_context(view: MessageView) -> dict[str, Any] | None:
    if view.versions is None:
        return None
    versions = view.versions
    return {
        "index": versions.index,
        "count": versions.count,
        "previous_url": _url("message_show", versions.previous, versions.previous is not None),
        "next_url": _url("message_show", versions.next, versions.next is not None),
    }


def _url(name: str, message_id: int | None, allowed: bool) -> str:
    return reverse(name, args=[message_id]) if allowed else ""


def _change(change: Change) -> str:
    base = f"message-{change.message_id}"
    parts = []
    if change.reasoning:
        text = escape(change.reasoning, quote=False)
        parts.append(f'<div hx-swap-oob="beforeend:#{base}-reasoning-text">{text}</div>')
    if change.thought:
        message = {"dom_id": base, "thought": thought(change.thought_seconds)}
        parts.append(render("_thought.html", message=message))
    if change.replaces_done:
        parts.append(f'<div id="{base}-done" class="zone">{change.done}</div>')
    elif change.done:
        parts.append(f'<div hx-swap-oob="beforeend:#{base}-done">{change.done}</div>')
    if change.soft is not None:
        parts.append(f'<div id="{base}-soft" class="zone">{change.soft}</div>')
    if change.tail is not None:
        parts.append(f'<div id="{base}-tail" class="zone tail">{change.tail}</div>')
    return "".join(parts)
