"""Splits off the reasoning that a server left in the text: <think>…</think> at its start.

Servers with a parser for it send reasoning apart. Ollama, llama.cpp and LM Studio without one pass
on what DeepSeek-R1, Qwen3 and their like write.
"""

OPEN = "<think>"
CLOSE = "</think>"
# Before <think> there may be some whitespace; more than that is the beginning of a text.
LONGEST_START_CHARS = 64


class ThoughtSplitter:
    """Feed it one choice's text in any cut; it tells the reasoning from the rest.

    Only at the very start: a tag further on is text about tags. What may be the beginning of a tag
    is held back until that is known. Whitespace next to the tags belongs to neither.
    """

    def __init__(self) -> None:
        self.is_over = False  # all that follows is text
        self._held = ""
        self._is_inside = False
        self._has_begun = False  # the reasoning, or after it the text, with more than whitespace
        self._is_after = False

    def feed(self, text: str) -> tuple[str, str]:
        """Return the text and the reasoning that are certain by now."""
        if self.is_over:
            return text, ""
        text, self._held = self._held + text, ""
        if self._is_after:
            return self._after(text), ""
        if self._is_inside:
            return self._inside(text)
        start = text.lstrip()
        if start.startswith(OPEN):
            self._is_inside = True
            return self._inside(start[len(OPEN) :])
        if OPEN.startswith(start) and len(text) <= LONGEST_START_CHARS:
            self._held = text
            return "", ""
        self.is_over = True
        return text, ""

    def finish(self) -> tuple[str, str]:
        """Return what is held back, as nothing more will come."""
        held, self._held = self._held, ""
        self.is_over = True
        return ("", held) if self._is_inside and not self._is_after else (held, "")

    def _inside(self, text: str) -> tuple[str, str]:
        if not self._has_begun:
            text = text.lstrip()
        end = text.find(CLOSE)
        if end >= 0:
            self._is_after = True
            return self._after(text[end + len(CLOSE) :]), text[:end].rstrip()
        certain = len(text) - _open_end(text)
        self._held = text[certain:]
        self._has_begun = self._has_begun or certain > 0
        return "", text[:certain]

    def _after(self, text: str) -> str:
        text = text.lstrip()
        self.is_over = bool(text)
        return text


def _open_end(text: str) -> int:
    """Return how many characters at the end may belong to the closing tag or the space before."""
    size = next((n for n in range(len(CLOSE) - 1, 0, -1) if text.endswith(CLOSE[:n])), 0)
    tail = text[max(0, len(text) - size - LONGEST_START_CHARS) : len(text) - size]
    return size + len(tail) - len(tail.rstrip())
