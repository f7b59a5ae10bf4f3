"""Reads a provider's list of models, in whichever shape it comes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LONGEST_NAME_CHARS = 200
MOST_MODELS = 2_000
LARGEST_CONTEXT = 2**31 - 1

# Where the context's length stands: vLLM; LiteLLM; OpenRouter, Together; Groq; Mistral;
# LM Studio; Gemini's own protocol.
_CONTEXT_NAMES = (
    "max_model_len",
    "max_input_tokens",
    "context_length",
    "context_window",
    "max_context_length",
    "loaded_context_length",
    "inputTokenLimit",
)
# What LiteLLM (mode), LM Studio and Together (type) call models that are not for chats.
_OTHER_KINDS = {
    "embedding",
    "embeddings",
    "rerank",
    "image",
    "image_generation",
    "audio",
    "audio_transcription",
    "audio_speech",
    "moderation",
}


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model of a provider's list; context_tokens is None where the list does not say.

    label is its name for people, "" where that would be its id again.
    """

    id: str
    label: str = ""
    context_tokens: int | None = None


def read_models(value: object) -> tuple[ListedModel, ...] | None:
    """Return the models in the order of the list, or None where there is no list.

    Takes OpenAI's {"data": […]}, {"models": […]} (Ollama, Gemini), a bare list (Together), and
    a page of them ({"content": […]}). What says that it is no model for chats is left out.
    """
    items = value
    if isinstance(value, dict):
        lists = (value.get(name) for name in ("data", "models", "content"))
        items = next((found for found in lists if isinstance(found, list)), None)
    if not isinstance(items, list):
        return None
    found: dict[str, ListedModel] = {}
    for item in items[: 2 * MOST_MODELS]:
        model = _read_model(item)
        if model and len(found) < MOST_MODELS:
            found.setdefault(model.id, model)
    return tuple(found.values())


def _read_model(item: object) -> ListedModel | None:
    if isinstance(item, str):
        item = {"id": item}
    if not isinstance(item, dict) or not _is_for_chats(item):
        return None
    name = next(_names(item, "id", "model", "name"), "")
    if not name:
        return None
    label = next(_names(item, "display_name", "displayName", "name"), "")
    return ListedModel(name, "" if label == name else label, _read_context(item))


def _names(item: dict[Any, Any], *fields: str) -> Iterator[str]:
    for field in fields:
        value = item.get(field)
        text = value.strip() if isinstance(value, str) else ""
        if text and len(text) <= LONGEST_NAME_CHARS and text.isprintable():
            yield text


def _is_for_chats(item: dict[Any, Any]) -> bool:
    abilities = item.get("capabilities")  # Mistral's name, and Azure's
    if isinstance(abilities, dict):
        for name in ("completion_chat", "chat_completion"):
            if abilities.get(name) is False:
                return False
    kinds = (item.get("mode"), item.get("type"))  # LiteLLM; LM Studio and Together
    named = [kind.lower() for kind in kinds if isinstance(kind, str)]
    return not any(kind in _OTHER_KINDS for kind in named)


def _read_context(item: dict[Any, Any]) -> int | None:
    meta = item.get("meta")  # llama.cpp's
    places = [item, item.get("model_info"), item.get("top_provider")]
    sizes = [
        place.get(name) for place in places if isinstance(place, dict) for name in _CONTEXT_NAMES
    ]
    if isinstance(meta, dict):
        sizes += [meta.get("n_ctx"), meta.get("n_ctx_train")]
    for size in sizes:
        if isinstance(size, int) and not isinstance(size, bool) and 0 < size <= LARGEST_CONTEXT:
            return size
    return None
