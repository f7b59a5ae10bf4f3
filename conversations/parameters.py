"""A conversation's parameters for the model: read from a form, checked, and put into words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from conversations.cleaning import TooLong, clean_limited

SYSTEM_PROMPT_LENGTH = 16_000
MOST_STOPS = 4  # OpenAI's limit
STOP_LENGTH = 100
MOST_ANSWERS = 4  # more don't fit beside each other
MOST_TOKENS = 1_000_000

NAMES = ("system_prompt", "temperature", "top_p", "max_tokens", "n", "stop")  # as shown


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a form said: the values that are right, and a message for each field that is not."""

    system_prompt: str = ""
    values: dict[str, Any] = field(default_factory=dict)  # only what was set
    errors: dict[str, str] = field(default_factory=dict)
    typed: dict[str, str] = field(default_factory=dict)  # as typed, to show again

    @property
    def valid(self) -> bool:
        return not self.errors


def read(form: Mapping[str, str]) -> Parameters:
    """Check a form's fields. Empty means "as the model has it". Never raises."""
    typed = {name: str(form.get(name, "") or "") for name in NAMES}
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, least, most in (("temperature", 0.0, 2.0), ("top_p", 0.0, 1.0)):
        _read_number(typed[name], name, least, most, values, errors)
    for name, biggest in (("max_tokens", MOST_TOKENS), ("n", MOST_ANSWERS)):
        _read_integer(typed[name], name, biggest, values, errors)
    if values.get("n") == 1:
        del values["n"]
    try:
        stops = _read_stops(typed["stop"])
    except TooLong:
        errors["stop"] = _("At most %(n)d lines of %(length)d characters.") % {
            "n": MOST_STOPS,
            "length": STOP_LENGTH,
        }
    else:
        if stops:
            values["stop"] = stops
    system_prompt = ""
    try:
        system_prompt = clean_limited(typed["system_prompt"], SYSTEM_PROMPT_LENGTH)
    except TooLong:
        errors["system_prompt"] = _("At most %(n)d characters.") % {"n": SYSTEM_PROMPT_LENGTH}
    return Parameters(system_prompt, values, errors, typed)


def typed(system_prompt: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Stored parameters as a form shows them."""
    return {
        "system_prompt": system_prompt,
        "temperature": _number(values.get("temperature")),
        "top_p": _number(values.get("top_p")),
        "max_tokens": _number(values.get("max_tokens")),
        "stop": "\n".join(values.get("stop", [])),
        "n": _number(values.get("n", 1)),
    }


def summary(system_prompt: str, values: Mapping[str, Any]) -> str:
    """One short line for the composer, as "Temperature 0.7 · 2 answers"."""
    parts = []
    if system_prompt:
        parts.append(_("System prompt"))
    if "temperature" in values:
        parts.append(_("Temperature %s") % _number(values["temperature"]))
    if "top_p" in values:
        parts.append(_("Top p %s") % _number(values["top_p"]))
    if "max_tokens" in values:
        parts.append(_("At most %s tokens") % values["max_tokens"])
    if "stop" in values:
        count = len(values["stop"])
        parts.append(ngettext("%d stop word", "%d stop words", count) % count)
    if values.get("n", 1) > 1:
        parts.append(_("%d answers") % values["n"])
    return " · ".join(parts) or _("Parameters")


def _read_stops(text: str) -> list[str]:
    """The lines that are not empty. Raises TooLong for one, or for too many."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_STOPS:
        raise TooLong
    return [stop for line in lines if (stop := clean_limited(line, STOP_LENGTH))]


def _read_number(
    text: str, name: str, least: float, most: float, values: dict[str, Any], errors: dict[str, str]
) -> None:
    text = text.strip().replace(",", ".")
    if not text:
        return
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if least <= number <= most:
        values[name] = number
    else:
        errors[name] = _("A number from %(least)g to %(most)g.") % {"least": least, "most": most}


def _read_integer(
    text: str, name: str, most: int, values: dict[str, Any], errors: dict[str, str]
) -> None:
    text = text.strip()
    if not text:
        return
    # isascii: int() also takes digits of other scripts, and its cost grows with the length.
    if len(text) < 10 and text.isascii() and text.isdigit() and 1 <= int(text) <= most:
        values[name] = int(text)
    else:
        errors[name] = _("A whole number from 1 to %d.") % most


def _number(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
