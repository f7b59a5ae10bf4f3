"""Renders a growing Markdown answer block by block, each finished block once.

A `Blocks` takes the text as it arrives and keeps three pieces of HTML: `chunks` (finished, each
sent once), `soft` (finished items of a list that is still open) and `tail` (the open rest, replaced
each time). A chunk is cut where no later text can change what stands before it:

* Paragraphs, quotations, tables and setext headings end at a complete blank line. Before it they
  may turn into something else: a paragraph into a heading by `===`, into a table by `|---|`.
* Any block ends where the next one has begun: after a blank line at a line that is complete, or so
  far written that it can be no list item or indented code; without a blank line only at a complete
  line. Lists and indented code end only this way, as blank lines may be within them.
* Fences end at their closing line. While one is open its code is escaped and appended to, not
  parsed again, and highlighted when it closes or the text ends.
* Reference definitions leave no token and may go on in the next line: only a blank line ends them.
  Those of finished text are kept apart from those of the tail, as the first definition wins and a
  half-typed address must not. A late one renders the chunks anew that asked for its label, and
  `rewrites` counts up; after MAX_REWRITES times that waits for `finish()`.
* Loose and tight lists: a later blank line makes all of a list loose, so it is one block until it
  ends. Its finished items go to `soft`; when it ends it is rendered as a whole into a chunk.
* Open tables, paragraphs and single list items are parsed again at each update. Beyond
  LONG_TAIL_CHARS only after each growth by 1/64, with the text since then shown as it is.
* Raw HTML is text, so no HTML block can swallow what follows.
* Line ends may be split over deltas: a final CR waits for its LF.
* A last line that is only markers (`-`, `**`, "``", `1.`, `|--`) is held back until it says more.
"""

import logging
import re
from dataclasses import dataclass, field
from html import escape
from typing import Final

from markdown_it.token import Token

from conversations.markdown import (
    CODE_FOOT,
    References,
    code_head,
    is_closed,
    normalize,
    parse,
    plain,
    render,
    render_source,
    render_tokens,
    warm_up,
)

logger = logging.getLogger(__name__)

__all__ = ["MAX_REWRITES", "Blocks", "render", "warm_up"]

# Each rewrite sends the whole answer again.
MAX_REWRITES: Final = 50
# An open tail of this length takes 3 to 10 ms to parse.
LONG_TAIL_CHARS: Final = 8_000
MARKERS_CHARS: Final = 200

_LISTS = ("bullet_list_open", "ordered_list_open")
# Only markers: a list item, heading, fence, rule or table may come of it, or nothing of the kind.
_MARKERS = re.compile(r"[ \t>]*(?:`+|~+|#{1,6}|[-+*=_|:][-+*=_|: \t]*|\d{1,9}[.)]?)?[ \t]*")
# The beginning of a line that can be neither a list item nor indented.
_NO_ITEM = re.compile(r"[^ \t\-+*0-9]|[-+*][^ \t]|[0-9]+[^0-9.)]|[0-9]+[.)][^ \t]|[0-9]{10}")


class Blocks:
    """A growing answer. `append` may be called while `update` runs in another thread."""

    chunks: list[str]
    """HTML of finished blocks, in order; each stays as it is unless `rewrites` changes."""
    rewrites: int
    """How often finished chunks were replaced; after a change all of them are to be sent again."""
    soft: str
    """HTML of the finished items of the open list. Grows at its end, or starts again from ""."""
    tail: str
    """HTML of the open rest."""
    healed: bool
    """Whether `finish` had to replace all chunks to be equal to `render(text)`."""
    parsed: int
    """Characters given to the parser so far: the cost, in a unit that tests can compare."""

    def __init__(self, text: str = "") -> None:
        self.chunks = []
        self.rewrites = 0
        self.soft = ""
        self.tail = ""
        self.healed = False
        self.parsed = 0
        self._received: list[str] = [text]
        self._taken = 0  # how many of the received pieces were read
        self._carry = ""  # a CR whose LF may still come
        self._open = ""  # normalized source of the tail
        self._sources: list[tuple[str, set[str]]] = []  # per chunk: source, labels not found
        self._references = References()
        self._late: set[str] = set()  # labels defined since the last look at the chunks
        self._highlighted: dict[tuple[str, str], str] = {}
        self._list: _OpenList | None = None
        self._fence: _OpenFence | None = None
        self._advanced = (0, "")  # length of the open source when last parsed, and its HTML
        self._final: str | None = None

    @property
    def text(self) -> str:
        """Everything appended."""
        return "".join(self._received)

    def append(self, text: str) -> None:
        """Take more text. Cheap: nothing is parsed before the next `update`."""
        if self._final is not None:
            raise ValueError("the text is finished")
        self._received.append(text)

    def update(self) -> bool:
        """Parse what is new; whether anything visible changed. Costs about the open tail."""
        if self._final is not None or not self._take():
            return False
        before = (len(self.chunks), self.rewrites, self.soft, self.tail)
        try:
            if not (self._fence and self._extend_fence(self._fence)) and not self._wait():
                self._advance()
                self._rewrite()
                length = 0 if self._fence else len(_without_markers(self._open))
                self._advanced = (length, self.tail)
        except Exception:  # a bug of the parser must cost the formatting, not the answer
            logger.exception("markdown_update_failed chars=%d", len(self._open))
            self.tail = plain(self._open)
        return before != (len(self.chunks), self.rewrites, self.soft, self.tail)

    def finish(self) -> str:
        """End the text and return its HTML, which is `render(text)` and all of `chunks`.

        What was open becomes one last chunk: a held back line of markers, an open fence (now
        highlighted), an open list (now one list). Should the chunks still differ from
        `render(text)`, they become one, `rewrites` counts up and `healed` is true. Known reasons:
        more late definitions than MAX_REWRITES, and a failure of the parser.
        """
        if self._final is None:
            self._take(last=True)
            if self._open or self._list:
                self._commit(len(self._open))
                self._rewrite()
            self.tail = ""
            self.parsed += sum(map(len, self._received))
            self._final = render_source(normalize(self.text), References(), self._highlighted)
            if "".join(self.chunks) != self._final:
                self.chunks[:] = [self._final]
                self.rewrites += 1
                self.healed = True
        return self._final

    def _take(self, *, last: bool = False) -> bool:
        """Read new pieces into the open source; whether there were any."""
        end = len(self._received)
        new = self._carry + "".join(self._received[self._taken : end])
        self._taken = end
        self._carry = "\r" if new.endswith("\r") and not last else ""
        new = new.removesuffix(self._carry)
        self._open += normalize(new)
        return bool(new)

    def _wait(self) -> bool:
        """Show the new text of a long tail as it is, unless it is time to parse it again."""
        length, html = self._advanced
        if length < LONG_TAIL_CHARS or len(self._open) > length + length // 64:
            return False
        self.tail = f"{html}<p>{escape(self._open[length:], quote=False)}</p>\n"
        return True

    def _advance(self) -> None:
        """Cut off what is finished, and show the rest."""
        while True:
            context = self._list.context if self._list else ""
            source = context + _without_markers(self._open)
            tokens = self._parse(source, self._list.references if self._list else None)
            lines = source.split("\n")
            if cut := _boundary(tokens, lines):
                self._commit(_offset(lines, cut) - len(context))
            elif not self._soften(tokens, lines):
                break
        if self._list:
            self._list.adapt(tokens)
        self._fence = _open_fence(tokens, lines)
        if not (self._fence and self._extend_fence(self._fence)):
            self.tail = render_tokens(tokens, self._highlighted, growing=True)

    def _parse(self, source: str, references: References | None = None) -> list[Token]:
        """Parse without keeping the definitions found."""
        self.parsed += len(source)
        return parse(source, References(self._references | (references or {})))

    def _commit(self, end: int) -> None:
        """Make a chunk of the open list and the open source up to `end`."""
        source = (self._list.source if self._list else "") + self._open[:end]
        self._open = self._open[end:]
        self._list = None
        self._fence = None
        self.soft = ""
        known = set(self._references)
        references = References(self._references)
        html = self._render(source, references)
        self._references.update(references)
        self._late |= references.keys() - known
        if html.strip():
            self.chunks.append(html)
            self._sources.append((source, references.unknown))

    def _render(self, source: str, references: References) -> str:
        self.parsed += len(source)
        return render_source(source, references, self._highlighted)

    def _rewrite(self) -> None:
        """Render the chunks again that asked for a label which was defined only later."""
        if not self._late or self.rewrites >= MAX_REWRITES:
            return
        changed = False
        for index, (source, unknown) in enumerate(self._sources):
            if unknown.isdisjoint(self._late):
                continue
            references = References(self._references)
            html = self._render(source, references)
            changed = changed or html != self.chunks[index]
            self.chunks[index] = html
            self._sources[index] = (source, references.unknown)
        self._late.clear()
        self.rewrites += changed

    def _soften(self, tokens: list[Token], lines: list[str]) -> bool:
        """Move the finished items of a list that is all of the tail to the soft zone."""
        blocks = _top_level(tokens)
        if len(blocks) != 1 or blocks[0].type not in _LISTS:
            return False
        items = [t for t in tokens if t.type == "list_item_open" and t.level == 1]
        starts = [_start(item) for item in items[1 if self._list else 0 :]]
        if len(starts) < 2:  # the last one is certain: a marker alone would be held back
            return False
        open_list = self._list or _OpenList.opened_by(blocks[0])
        context = open_list.context if self._list else ""
        source = self._open[: _offset(lines, starts[-1]) - len(context)]
        references = References(self._references | open_list.references)
        self.parsed += len(source)
        moved = parse(context + source, references)
        open_list.loosen_by(tokens)
        open_list.adapt(moved, with_context=bool(context))
        self.soft += render_tokens(moved, self._highlighted)
        open_list.references.update(references)
        open_list.source += source
        open_list.number += len(starts) - 1
        self._list = open_list
        self._open = self._open[len(source) :]
        return True

    def _extend_fence(self, fence: "_OpenFence") -> bool:
        """Show the new code of the open fence, unless it was closed."""
        end = self._open.rfind("\n") + 1
        new = self._open[fence.shown : end]
        if any(fence.closing.fullmatch(line) for line in new.split("\n")):
            self._fence = None
            return False
        fence.html += escape(new, quote=False)
        fence.shown = end
        rest = _without_markers(self._open)[end:]
        self.tail = fence.html + escape(rest, quote=False) + CODE_FOOT
        return True


@dataclass(slots=True)
class _OpenList:
    """A list whose finished items have left the tail.

    The tail's first item is not at the beginning of a list: `- a | b` followed by `|---|---|` is a
    table there, but not as a second item. So it is parsed with an item before it, whose content is
    indented so far that nothing of the tail belongs to it.
    """

    context: str
    number: int
    loose: bool
    source: str = ""
    references: References = field(default_factory=References)

    @classmethod
    def opened_by(cls, token: Token) -> "_OpenList":
        ordered = token.type == "ordered_list_open"
        context = f"   {1 if ordered else ''}{token.markup} x\n"
        start = token.attrGet("start")
        return cls(context, 1 if start is None else int(start), loose=False)

    def loosen_by(self, tokens: list[Token]) -> None:
        """Remember that the list is loose: its items in the tail can't know it by themselves."""
        self.loose = self.loose or any(
            token.type == "paragraph_open" and not token.hidden for token in _of_items(tokens)
        )

    def adapt(self, tokens: list[Token], *, with_context: bool = True) -> None:
        """Take the item before out of the tokens; go on with the list's number and looseness."""
        self.loosen_by(tokens)
        for token in _of_items(tokens):
            if self.loose and token.type in ("paragraph_open", "paragraph_close"):
                token.hidden = False
        if with_context:
            end = next(i for i, token in enumerate(tokens) if token.type == "list_item_close")
            del tokens[1 : end + 1]
        if tokens[0].type == "ordered_list_open" and self.number != 1:
            tokens[0].attrSet("start", self.number)


@dataclass(slots=True)
class _OpenFence:
    """A fence at the beginning of the tail that waits for its closing line."""

    closing: re.Pattern[str]
    html: str
    shown: int  # characters of the tail that are in `html`


def _boundary(tokens: list[Token], lines: list[str]) -> int:
    """The line up to which no later text can change anything; 0 if there is none."""
    last_line = len(lines) - 1  # not complete, or empty
    blocks = _top_level(tokens)
    blank = next((i for i in range(last_line - 1, -1, -1) if not lines[i].strip(" \t")), -1)
    if not blocks or (_ends_at_blank_line(blocks[-1]) and blank >= _end(blocks[-1])):
        return blank + 1
    for index in range(len(blocks) - 1, -1, -1):
        start = _start(blocks[index])
        complete = start < last_line
        if start == 0:
            break
        if not lines[start - 1].strip(" \t"):
            decided = complete or _NO_ITEM.match(lines[start]) is not None
        else:  # a definition in between, which may go on, makes a gap
            decided = complete and index > 0 and _end(blocks[index - 1]) == start
            if blocks[index].type == "table_open":
                decided = decided and start + 1 < last_line
        if decided:
            return start
    return 0


def _top_level(tokens: list[Token]) -> list[Token]:
    return [token for token in tokens if token.level == 0 and token.nesting >= 0]


def _ends_at_blank_line(block: Token) -> bool:
    if block.type == "fence":
        return is_closed(block)
    return block.type not in (*_LISTS, "code_block")


def _open_fence(tokens: list[Token], lines: list[str]) -> _OpenFence | None:
    """The fence that is all of the tail, if it is open and certain to be one."""
    if len(tokens) != 1 or tokens[0].type != "fence" or is_closed(tokens[0]):
        return None
    token, first = tokens[0], lines[0]
    # A line with a `|` may yet be the head of a table. An indented fence is the parser's affair.
    complete = len(lines) > (2 if "|" in first else 1)
    if not complete or not first.startswith(token.markup):
        return None
    closing = rf" {{0,3}}{re.escape(token.markup[0])}{{{len(token.markup)},}}[ \t]*"
    return _OpenFence(re.compile(closing), code_head(token.info), len(first) + 1)


def _of_items(tokens: list[Token]) -> list[Token]:
    """The blocks directly in the items of the list that the tokens begin with."""
    end = next(i for i, token in enumerate(tokens) if token.level == 0 and token.nesting < 0)
    return [token for token in tokens[:end] if token.level == 2]


def _without_markers(source: str) -> str:
    """The source without a last line that is only markers."""
    start = source.rfind("\n") + 1
    if len(source) - start <= MARKERS_CHARS and _MARKERS.fullmatch(source, start):
        return source[:start]
    return source


def _start(token: Token) -> int:
    return token.map[0] if token.map else 0


def _end(token: Token) -> int:
    return token.map[1] if token.map else 0


def _offset(lines: list[str], line: int) -> int:
    """Where a line begins, in characters."""
    return sum(len(text) + 1 for text in lines[:line])
