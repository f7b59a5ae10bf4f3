"""Reads the body of an answer, in any cut of its bytes, into chunks; knows when it is complete."""

from collections.abc import Iterator

from completions.choices import Choices
from completions.codec import MalformedJson, decode_chunk, decode_json, decode_usual
from completions.errors import (
    CompletionError,
    ProviderFailed,
    ProviderProtocolError,
    StreamBroken,
)
from completions.refusals import (
    Complaint,
    failure,
    find_complaint,
    plain_text,
    read_body,
    read_complaint,
    read_whole,
)
from completions.sse import BOM, Event, EventSplitter
from completions.types import CompletionChunk, Limits

HEAD_BYTES = 2_000
WHITESPACE = b" \t\r\n"


class AnswerReader:
    """Feed it the body of a 200; it yields chunks in which something is new.

    What the body is, its first byte says, for the Content-Type often lies: "{" or "[" is a whole
    answer or an error in JSON, "<" a page of HTML, anything else a stream of events. Raises
    ProviderFailed, PromptTooLong, ProviderProtocolError or StreamBroken, after having yielded
    everything before the fault; after that, or when it is done, it is of no more use.
    """

    def __init__(self, choices: int, limits: Limits) -> None:
        self.done = False  # nothing that follows counts
        self._choices = Choices(choices, limits)
        self._limits = limits
        self._is_sniffed = self._is_at_end = False
        self._head = b""  # what cannot be sniffed yet; later what came before the first event
        self._whole: bytearray | None = None
        self._page: bytes | None = None  # the beginning of one that came instead of an answer
        self._splitter = EventSplitter(limits.line_bytes)
        self._events = 0
        self._idle_bytes = 0  # since something new came
        self._most_bytes = limits.body_bytes
        self._aside = ""  # what the last event without choices says, should there be no other
        self._failure: CompletionError | None = None  # to be raised after what came before it

    @property
    def all_ended(self) -> bool:
        """Whether all choices that were asked for have ended: only a usage may still come."""
        return self._choices.all_ended

    @property
    def is_complete(self) -> bool:
        """Whether all choices that came have ended, were it fewer than were asked for."""
        return self._choices.is_complete

    def feed(self, piece: bytes) -> Iterator[CompletionChunk]:
        self._idle_bytes += len(piece)
        if not self._is_sniffed:
            piece = self._sniff(piece)
        if self._page is not None:
            self._page += piece
            if len(self._page) > HEAD_BYTES or b"</title>" in self._page.lower():
                raise _page_failure(self._page)
        elif self._whole is not None:
            self._whole += piece
            if len(self._whole) > self._most_bytes:
                raise ProviderProtocolError("The provider's answer is too long.")
        elif piece:
            if not self._events:
                self._head += piece[: HEAD_BYTES - len(self._head)]
            yield from self._read_events(self._splitter.feed(piece))
            if self._splitter.is_overflown and not self.done:
                raise ProviderProtocolError("A line of the answer is too long.")
        if self._idle_bytes > self._most_bytes and not self.done:
            if not self.is_complete:
                raise ProviderProtocolError("Too much came that is no answer.")
            self.done = True

    def finish(self) -> Iterator[CompletionChunk]:
        """Take the end of the body."""
        if self.done:
            return
        if self._page is not None:
            raise _page_failure(self._page)
        if self._whole is not None:
            yield from self._read_whole(bytes(self._whole))
            return
        self._is_at_end = True
        yield from self._read_events(self._splitter.finish())
        if self.done:
            return
        if rest := self._choices.take_rest():
            yield rest
        if self._choices.is_complete:
            self.done = True
            return
        if not self._choices.seen:
            words = self._aside if self._events else plain_text(self._head)
            raise ProviderFailed("The provider sent no answer.", detail=words)
        raise StreamBroken("The answer ended before it was complete.")

    def _sniff(self, piece: bytes) -> bytes:
        """Decide by the first byte; return what is to be read, which is nothing till then."""
        head = (self._head + piece).lstrip(WHITESPACE)
        if len(head) < len(BOM) and BOM.startswith(head):
            self._head = head
            return b""
        head = head.removeprefix(BOM).lstrip(WHITESPACE)
        self._head = b""
        if not head:
            return b""
        self._is_sniffed = True
        if head[:1] == b"<":
            self._page = b""
        if head[:1] in (b"{", b"["):
            self._whole = bytearray()
        return head

    def _read_whole(self, body: bytes) -> Iterator[CompletionChunk]:
        value = read_whole(body, "The provider's answer")
        for part in value if isinstance(value, list) else [value]:
            if chunk := self._take(decode_chunk(part, whole=True)):
                yield chunk
        if rest := self._choices.take_rest():
            yield rest
        if self._failure:
            raise self._failure
        if not self._choices.seen:
            raise ProviderFailed("The provider sent no answer.", detail=read_body(body).words)
        self.done = True

    def _read_events(self, events: list[Event]) -> Iterator[CompletionChunk]:
        for event in events:
            if chunk := self._read_event(event):
                yield chunk
            if self._failure or self.done:
                if rest := self._choices.take_rest():
                    yield rest
                if self._failure:
                    raise self._failure
                return

    def _read_event(self, event: Event) -> CompletionChunk | None:
        """Return what is new in an event, if anything; note a failure for after it."""
        if not event.data.strip():
            return None
        self._events += 1
        if self._events > self._limits.events:
            self._failure = ProviderProtocolError("The answer has too many events.")
            return None
        usual = decode_usual(event.data)
        if usual is not None and event.name != "error":
            return self._take(usual)
        if event.data.startswith(b"[DONE]"):
            if self._choices.seen:
                self.done = True
            else:
                self._failure = ProviderFailed("The provider sent no answer.", detail=self._aside)
            return None
        try:
            value = decode_json(event.data)
        except MalformedJson:
            if event.name == "error":
                self._failure = failure(Complaint(plain_text(event.data)))
            elif self._is_at_end:
                if not self._choices.is_complete:  # else it can have been the usage only
                    self._failure = StreamBroken("The answer ended within an event.")
            else:
                # Text may have been in it, and an answer with a gap is worse than none.
                words = plain_text(event.data)
                self._failure = ProviderProtocolError("An event is malformed.", detail=words)
            return None
        complaint = read_complaint(value) if event.name == "error" else find_complaint(value)
        # Text beside an error still counts: OpenRouter sends both in one event.
        chunk = self._take(decode_chunk(value, started=self._choices.started))
        if complaint:
            self._failure = failure(complaint)
        elif not isinstance(value, dict):
            if value not in (None, [], ""):  # these say nothing
                self._failure = ProviderProtocolError("An event is no object.")
        elif "choices" not in value:
            self._aside = read_complaint(value).words or self._aside
        return chunk

    def _take(self, chunk: CompletionChunk) -> CompletionChunk | None:
        choices = self._choices
        new = choices.take(chunk)
        if new and new.deltas:
            self._idle_bytes = 0
        self.done = choices.is_full
        self._failure = choices.failure
        return new


def _page_failure(page: bytes) -> ProviderFailed:
    return ProviderFailed("The provider answered with a page.", detail=plain_text(page))
