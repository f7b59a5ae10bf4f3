"""One reply that is being written: what arrived, and what of it each version showed."""

from bisect import bisect_right
from dataclasses import dataclass

from completions.types import ToolCallDelta
from conversations.blocks import Blocks
from conversations.cleaning import clean_delta
from conversations.growing import GrowingCall, GrowingText

# More than any model asks for at once; each is kept, stored and shown.
MOST_TOOL_CALLS = 128


@dataclass(frozen=True, slots=True)
class Change:
    """What one viewer lacks of one message. `done` is appended, or replaces all of it."""

    message_id: int
    begins: bool  # a part that was not visible before: the whole message is sent
    replaces_done: bool
    done: str
    soft: str | None  # None: as before
    tail: str | None  # None: as before
    reasoning: str = ""  # appended
    thought: bool = False  # the reasoning has ended: its heading changes
    thought_seconds: float | None = None


class LiveMessage:
    """One reply that is being written.

    `text`, `reasoning` and `tool_calls` are for whoever follows it by offset; `blocks`, `since` and
    the versions for pages.
    """

    def __init__(self, message_id: int, text: str, reasoning: str = "") -> None:
        self.id = message_id
        self.finish_reason: str | None = None
        self.tool_calls: list[GrowingCall] = []
        """In order of arrival; only ever appended to."""
        self.thought_seconds: float | None = None
        """From the first reasoning to the first text; None while, and where, there is none."""
        self.blocks = Blocks(text)
        self.blocks.update()
        self.visible_since = 0 if text or reasoning.strip() else -1
        self.changed = 0
        self._text = GrowingText(text)
        self._reasoning = GrowingText(reasoning)
        self._calls: dict[int, GrowingCall] = {}  # by the provider's index
        self._reasoned_at: float | None = None
        self._chunks_at: list[int] = [0] * len(self.blocks.chunks)
        self._rewrites = self.blocks.rewrites
        self._rewritten = self._soft_changed = self._text_changed = self._thought_changed = 0
        self._soft = self.blocks.soft
        self._has_new_text = self._has_new_reasoning = False
        # Versions in which the reasoning grew, and to what length.
        self._reasoned_in = [0]
        self._reasoned_to = [len(reasoning)]
        self._reasoning_since = 0 if reasoning.strip() else -1

    @property
    def text(self) -> str:
        """The whole text so far."""
        return str(self._text)

    @property
    def length(self) -> int:
        return self._text.length

    @property
    def reasoning(self) -> str:
        """The whole reasoning so far."""
        return str(self._reasoning)

    @property
    def reasoning_length(self) -> int:
        return self._reasoning.length

    def text_since(self, offset: int) -> str:
        return self._text.since(offset)

    def reasoning_since(self, offset: int) -> str:
        return self._reasoning.since(offset)

    @property
    def is_thinking(self) -> bool:
        """Whether reasoning came and what it leads to did not yet."""
        return self._reasoned_at is not None and self.thought_seconds is None

    def append(self, text: str, now: float) -> None:
        """Take text that arrived at `now` (a monotonic clock's seconds)."""
        self._end_thinking(now)
        self.blocks.append(text)
        self._text.append(text)

    def append_reasoning(self, text: str, now: float) -> None:
        if self._reasoned_at is None:
            self._reasoned_at = now
        self._reasoning.append(text)

    def append_tool_call(self, delta: ToolCallDelta, now: float) -> None:
        """Take a delta; calls beyond MOST_TOOL_CALLS are left out."""
        self._end_thinking(now)
        call = self._calls.get(delta.index)
        if call is None:
            if len(self.tool_calls) >= MOST_TOOL_CALLS:
                return
            call = self._calls[delta.index] = GrowingCall()
            self.tool_calls.append(call)
        call.id = call.id or clean_delta(delta.id)
        call.name = call.name or clean_delta(delta.name)
        if arguments := clean_delta(delta.arguments):
            call.append(arguments)

    def update(self) -> bool:
        """Render what is new; whether anything visible changed."""
        self._has_new_text = self.blocks.update()
        self._has_new_reasoning = self._reasoning.length > self._reasoned_to[-1] and (
            # Many begin with a line feed, and some say nothing else.
            self._reasoning_since >= 0 or not self.reasoning.isspace()
        )
        return self._has_new_text or self._has_new_reasoning

    def note(self, version: int) -> None:
        """Remember that what `update()` changed belongs to this version."""
        self.changed = version
        if self.visible_since < 0:
            self.visible_since = version
        if self._has_new_text:
            self._note_text(version)
        if self._has_new_reasoning:
            if self._reasoning_since < 0:
                self._reasoning_since = version
            self._reasoned_in.append(version)
            self._reasoned_to.append(self._reasoning.length)

    def _note_text(self, version: int) -> None:
        if self.thought_seconds is not None and not self._thought_changed:
            self._thought_changed = version
        self._text_changed = version
        if self.blocks.rewrites != self._rewrites:
            self._rewrites, self._rewritten = self.blocks.rewrites, version
        new = len(self.blocks.chunks) - len(self._chunks_at)
        self._chunks_at.extend([version] * new)
        if self.blocks.soft != self._soft:
            self._soft, self._soft_changed = self.blocks.soft, version

    def since(self, version: int) -> Change | None:
        """What came after `version`, or None."""
        if self.changed <= version:
            return None
        replaces = self._rewritten > version
        first = 0
        if not replaces:
            first = len(self._chunks_at)
            while first and self._chunks_at[first - 1] > version:
                first -= 1
        thought = self._thought_changed > version
        return Change(
            message_id=self.id,
            begins=self.visible_since > version or self._reasoning_since > version,
            replaces_done=replaces,
            done="".join(self.blocks.chunks[first:]),
            soft=self._soft if replaces or self._soft_changed > version else None,
            tail=self.blocks.tail if self._text_changed > version else None,
            reasoning=self._reasoned_after(version),
            thought=thought,
            thought_seconds=self.thought_seconds if thought else None,
        )

    def _end_thinking(self, now: float) -> None:
        if self._reasoned_at is not None and self.thought_seconds is None:
            self.thought_seconds = now - self._reasoned_at

    def _reasoned_after(self, version: int) -> str:
        if self._reasoned_in[-1] <= version:
            return ""
        known = self._reasoned_to[bisect_right(self._reasoned_in, version) - 1]
        shown = self._reasoned_to[-1]
        return self._reasoning.since(known)[: shown - known]
