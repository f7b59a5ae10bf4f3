"""Settings that cannot work are refused with an id and the remedy."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register
def provider_settings(**kwargs: Any) -> list[CheckMessage]:
    """COMPLETIONS_URL needs models, and a key unless it says that it needs none."""
    found: list[CheckMessage] = []
    if settings.COMPLETIONS_URL and not settings.COMPLETIONS_MODELS:
        found.append(
            Error(
                "COMPLETIONS_URL is set, but COMPLETIONS_MODELS is empty.",
                hint="Name at least one model, separated by commas.",
                id="chatsite.E001",
            )
        )
    keyless = settings.COMPLETIONS_AUTH == "none" or settings.COMPLETIONS_API_KEY
    if settings.COMPLETIONS_URL and not keyless:
        found.append(
            Error(
                "COMPLETIONS_URL is set, but COMPLETIONS_API_KEY is empty.",
                hint="Set the key, or COMPLETIONS_AUTH=none where the endpoint needs none.",
                id="chatsite.E002",
            )
        )
    return found
