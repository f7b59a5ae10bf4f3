"""Cuts a byte stream into server-sent events, as the HTML standard has it, within a size limit."""

from typing import NamedTuple

BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event: its name ("" where none was given) and its data lines joined by LF."""

    name: str
    data: bytes


class EventSplitter:
    """Feed it pieces in any cut; it returns the events that each piece completes.

    Lines end at LF, CRLF or CR and at nothing else: str.splitlines() and httpx's iter_lines()
    also cut at U+2028 and U+0085, which may stand raw inside a JSON string. Comments, id, retry
    and unknown fields are ignored; a field named "error" (llama.cpp before September 2025) counts
    as an event of that name.
    """

    def __init__(self, limit: int) -> None:
        # Set for good when a line, or the data of one event, exceeds the limit: what came before
        # is still returned, what follows is not.
        self.is_overflown = False
        self._limit = limit
        self._rest = bytearray()  # the beginning of a line whose end has not come
        self._at_start = True
        self._skip_lf = False
        self._name = ""
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[Event]:
        if self._skip_lf and piece:
            # The last piece ended in CR, and its line was taken at once: this is its CRLF's LF.
            self._skip_lf = False
            piece = piece.removeprefix(b"\n")
        if b"\r" in piece:
            self._skip_lf = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *lines = piece.split(b"\n")
        self._rest += first
        events: list[Event] = []
        if lines:
            first = bytes(self._rest)
            self._rest[:] = lines.pop()
            self._take(first, events)
            for line in lines:
                self._take(line, events)
        if len(self._rest) > self._limit:
            self._overflow()
        return events

    def finish(self) -> list[Event]:
        """Return what the end of the stream completes.

        The standard drops an event without its blank line; servers that end with a bare
        "data: [DONE]" mean it, so it counts.
        """
        events: list[Event] = []
        self._take(bytes(self._rest), events)
        self._rest.clear()
        self._dispatch(events)
        return events

    def _take(self, line: bytes, events: list[Event]) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(BOM)
        if self.is_overflown:
            return
        if not line:
            self._dispatch(events)
            return
        if line.startswith(b"data: "):  # as nearly all do
            self._add(line[6:])
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add(value)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"error":
            self._name = "error"
            self._add(value)

    def _add(self, value: bytes) -> None:
        self._size += len(value) + 1
        if self._size > self._limit + 1:
            self._overflow()
        else:
            self._lines.append(value)

    def _overflow(self) -> None:
        self.is_overflown = True
        self._rest.clear()
        self._lines.clear()

    def _dispatch(self, events: list[Event]) -> None:
        if self._lines:
            events.append(Event(self._name, b"\n".join(self._lines)))
            self._lines = []
            self._size = 0
        self._name = ""
