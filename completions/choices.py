"""What the choices of one answer have got so far, and what is new in a chunk of it."""

from collections.abc import Collection
from dataclasses import replace

from completions.errors import CompletionError, ProviderFailed
from completions.thinking import ThoughtSplitter
from completions.toolcalls import CallNumbers
from completions.types import CompletionChunk, Delta, Limits

FIRST_HALF, LAST_HALF = "\ud800", "\udbff"  # what a surrogate pair begins with


class Choices:
    """Takes decoded chunks and returns what is new in them, until is_full.

    The first finish_reason of a choice wins; "stop" beside tool calls is "tool_calls", for Gemini
    and others say so. Reasoning in front of the text is told from it. failure is set where a
    choice says that it ended by an error.
    """

    def __init__(self, count: int, limits: Limits) -> None:
        self.seen: set[int] = set()
        self.finished: set[int] = set()
        self.is_full = False  # the limit of characters is reached
        self.failure: CompletionError | None = None
        self._count = count
        self._limit = limits.answer_chars
        self._chars = 0
        self._started: set[int] = set()
        self._halves: dict[tuple[int, bool], str] = {}  # by choice; of its reasoning?
        self._only: int | None = None  # the provider's number for the one choice, if it is odd
        self._plain: set[int] = set()  # whose text needs no look for reasoning any more
        self._splitters: dict[int, ThoughtSplitter] = {}
        self._numbers: dict[int, CallNumbers] = {}

    @property
    def started(self) -> Collection[int]:
        """The provider's numbers of the choices that have got text, reasoning or a tool call."""
        if self._started and self._only is not None:
            return (self._only,)
        return self._started

    @property
    def all_ended(self) -> bool:
        """Whether all choices that were asked for have ended."""
        return len(self.finished) >= self._count

    @property
    def is_complete(self) -> bool:
        """Whether each choice that was seen has ended."""
        return bool(self.seen and self.seen <= self.finished)

    def take(self, chunk: CompletionChunk) -> CompletionChunk | None:
        """Return what is new in a chunk, if anything."""
        news: list[Delta] = []
        for delta in chunk.deltas:
            if (delta.index or self._only) and self._count == 1:
                if self._only is None:
                    self._only = 0 if self.seen else delta.index  # some count from 1
                if delta.index != self._only:
                    continue
                delta = replace(delta, index=0)
            if delta.index < self._count and not self.is_full:
                self._take_delta(delta, news)
        if not news and not chunk.usage:
            return None
        return CompletionChunk(tuple(news), chunk.usage, chunk.model)

    def take_rest(self) -> CompletionChunk | None:
        """Return what was held back, as nothing more will come; to be called at any end."""
        news: list[Delta] = []
        held = {*self._splitters, *(index for index, _ in self._halves)}
        for index in () if self.is_full else sorted(held):
            # As if the choice ended here, though nobody says how.
            last = self._split(self._join(Delta(index, finish_reason="stop")))
            if last.text or last.reasoning:
                news.append(replace(last, finish_reason=None))
        return CompletionChunk(tuple(news)) if news else None

    def _take_delta(self, delta: Delta, news: list[Delta]) -> None:
        index = delta.index
        self.seen.add(index)
        if delta.finish_reason or delta.tool_calls:
            delta = self._take_rare(delta)
        if delta.text or delta.reasoning or delta.tool_calls:
            self._started.add(index)
            if (
                self._halves
                or FIRST_HALF <= delta.text[-1:] <= LAST_HALF
                or FIRST_HALF <= delta.reasoning[-1:] <= LAST_HALF
            ):
                delta = self._join(delta)
            if index not in self._plain:
                delta = self._split(delta)
            size = len(delta.text) + len(delta.reasoning)
            for call in delta.tool_calls:
                size += len(call.id) + len(call.name) + len(call.arguments)
            self._chars += size
            if self._chars > self._limit:
                self._cut(delta, self._limit - self._chars + size, news)
                return
        elif delta.finish_reason:
            if self._halves:
                delta = self._join(delta)
            delta = self._split(delta)
        if delta.finish_reason:
            self.finished.add(index)
        if delta.text or delta.reasoning or delta.tool_calls or delta.finish_reason:
            news.append(delta)

    def _join(self, delta: Delta) -> Delta:
        """Keep the first half of a surrogate pair back until what follows it has come.

        Servers that cut UTF-16 anywhere send the halves of an emoji in two deltas.
        """
        joined = {}
        for name, is_reasoning in (("text", False), ("reasoning", True)):
            key = (delta.index, is_reasoning)
            new = getattr(delta, name)
            text = self._halves.pop(key, "") + new
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
            if new and not delta.finish_reason and FIRST_HALF <= text[-1] <= LAST_HALF:
                self._halves[key], text = text[-1], text[:-1]
            joined[name] = text
        return replace(delta, **joined)

    def _take_rare(self, delta: Delta) -> Delta:
        """Number the tool calls, and settle how the choice ended."""
        index = delta.index
        calls = delta.tool_calls
        if calls:
            calls = self._numbers.setdefault(index, CallNumbers()).take(calls)
        finish = None if index in self.finished else delta.finish_reason
        if finish == "error":
            self.failure = ProviderFailed("The provider broke its answer off.")
            finish = None
        elif finish == "stop" and index in self._numbers and self._numbers[index].has_any:
            finish = "tool_calls"
        return replace(delta, tool_calls=calls, finish_reason=finish)

    def _split(self, delta: Delta) -> Delta:
        """Tell reasoning from the text, at the beginning of a choice's text."""
        index = delta.index
        splitter = self._splitters.get(index)
        if splitter is None:
            if index in self._plain or not delta.text:
                if delta.reasoning:  # this server splits it itself
                    self._plain.add(index)
                return delta
            splitter = self._splitters[index] = ThoughtSplitter()
        text, reasoning = splitter.feed(delta.text)
        if delta.finish_reason or delta.tool_calls or delta.reasoning:
            last_text, last_reasoning = splitter.finish()
            text, reasoning = text + last_text, reasoning + last_reasoning
        if splitter.is_over:
            self._plain.add(index)
            del self._splitters[index]
        return replace(delta, text=text, reasoning=delta.reasoning + reasoning)

    def _cut(self, delta: Delta, room: int, news: list[Delta]) -> None:
        """Take what there is room for, and end all choices with "length"."""
        self.is_full = True
        reasoning = delta.reasoning[:room]
        text = delta.text[: room - len(reasoning)]
        if text or reasoning:
            news.append(Delta(delta.index, text, reasoning))
        news += [Delta(i, finish_reason="length") for i in sorted(self.seen - self.finished)]
        self.finished |= self.seen
