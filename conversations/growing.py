"""Texts that arrive piece by piece and are read from any place on. Pure."""

from bisect import bisect_right


class GrowingText:
    """A text, and cheap access to what came after a place in it (places are in characters)."""

    __slots__ = ("_pieces", "_starts", "length")

    length: int

    def __init__(self, text: str = "") -> None:
        self._pieces = [text]
        self._starts = [0]
        self.length = len(text)

    def append(self, text: str) -> None:
        self._pieces.append(text)
        self._starts.append(self.length)
        self.length += len(text)

    def since(self, offset: int) -> str:
        """What stands at `offset` and after it. Costs as much as it returns."""
        if offset >= self.length:
            return ""
        first = bisect_right(self._starts, offset) - 1
        head = self._pieces[first][offset - self._starts[first] :]
        return "".join([head, *self._pieces[first + 1 :]])

    def __str__(self) -> str:
        return "".join(self._pieces)


class GrowingCall:
    """A tool call that is being written; id and name come whole, with its first delta."""

    __slots__ = ("_arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self._arguments = GrowingText()

    @property
    def arguments(self) -> str:
        """JSON as text; until the call is whole, the beginning of it."""
        return str(self._arguments)

    def arguments_since(self, offset: int) -> str:
        return self._arguments.since(offset)

    def append(self, arguments: str) -> None:
        self._arguments.append(arguments)
