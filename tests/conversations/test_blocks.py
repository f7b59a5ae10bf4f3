"""A growing answer shows at every moment what it will be, and ends as the one-shot rendering."""

import re
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.blocks import LONG_TAIL_CHARS, MAX_REWRITES, Blocks, render
from tests.conversations.test_markdown import HOSTILE_TEXTS, IMAGE_SPELLINGS, Page


class Viewer:
    """What a client has, which gets new chunks once, and all of them only after a rewrite."""

    def __init__(self) -> None:
        self.chunks: list[str] = []
        self.rewrites = 0
        self.soft = ""
        self.tail = ""

    def receive(self, blocks: Blocks) -> None:
        if blocks.rewrites == self.rewrites:
            known = len(self.chunks)
            assert blocks.chunks[:known] == self.chunks, "a chunk changed without a rewrite"
            self.chunks += blocks.chunks[known:]
        else:
            self.chunks = list(blocks.chunks)
            self.rewrites = blocks.rewrites
        self.soft, self.tail = blocks.soft, blocks.tail

    @property
    def html(self) -> str:
        return "".join(self.chunks) + self.soft + self.tail


def written(text: str, step: int = 1) -> Blocks:
    """Blocks that got the text in small pieces, with an update after each."""
    blocks = Blocks()
    for start in range(0, len(text), step):
        blocks.append(text[start : start + step])
        blocks.update()
    return blocks


def words_in(html: str) -> list[str]:
    return re.findall(r"w\d+w", unescape(re.sub(r"<[^>]*>", "", html)))


# --- Properties ---------------------------------------------------------------------------------

ATOMS = st.sampled_from(
    [
        *("\n", "\n", "\n\n", "\n\n", "\n\n\n", "\r", "\r\n", "\0", "\u2028", "\x85", "\x0b"),
        *("\x0c", " ", "  ", "    ", "\t", "a", "b c", "word", "- ", "* ", "+ ", "-", "*", "**"),
        *("_", "1. ", "2) ", "1", "10.", "> ", ">", "# ", "#", "===", "---", "***", "```", "```py"),
        *("~~~", "`", "``", "|", "| a | b |", "|---|---|", "|-|", "a | b", "--|--", "[a]", "[b]"),
        *("![a]", "[a", "[a]: ", "[a]: https://x.example\n", "[b]: https://b.example 'ti\ntle'\n"),
        *('"t"', "]", "[", "[a]: /relative\n", "(https://x.example)", "https://a.example/x"),
        *("<b>", "<div>\n", "&amp;", "&", "\\", "- [ ] x", "- [x] y\n", "~~s~~", "  - ", "   "),
        *("      ", "-\n", "1.\n", "]:", "é", "\ufeff", "<!--", "-->", "    - x\n", "\ud800"),
    ]
)
BLOCKS = [
    *("para one\nline two", "# head", "head\n===", "head\n---", "- a\n- b\n- c", "- a\n\n- b\n- c"),
    *("1. a\n2. b\n   more\n3. c", "* x\n  - y\n  - z\n* w", "> q\n> r\nlazy", "---", "***"),
    *("```py\nx = 1\n\ny\n```", "```\nopen? \n```", "~~~\nt\n~~~", "    code\n\n    code"),
    *("| a | b |\n|---|---|\n| 1 | 2 |\n| 3 |", "a | b\n--|--\nc | d", "# a | b\n|--|--|\n|1|2|"),
    *("[a]: https://e.example", "[b]: <https://g.example> 'title'"),
    *("[a]: https://x.example\n'ti\ntle'", "use [a] and [b][] and [text][a]", "![pic][a]"),
    *("- [ ] t\n- [x] u", "- ```\n  code\n- after", "- a | b\n|--|--|\n"),
    *("- a\n- b | c\n|--|--|\n\n  cont", "text:\n- a\n- b", "```a|b\n|--|--|\n```"),
    *("text:\n```js\nvar x\n```\nafter", "<div>\nraw\n</div>", "2. two\n3. three", "- a\n* b\n+ c"),
    *("10) x\n11) y", "> - a\n> - b\n\n> - c", "- > q\n- # h\n-\n- x", "-\n\n  foo"),
    *("- a\n- b\n```", "  - in\n - out\n- x", "1. a\n\n   p2\n\n   ```\n   x\n   ```\n2. b"),
    *("-\nfoo", "- [a]: /x\n- [a]", "- [a]: https://l.example\n- [a]\n- c"),
    *("- a\n\n\n- b\n\n      code", "[a]: https://x.example\ntext"),
]
SEPARATORS = ["\n\n", "\n\n", "\n", "\n\n\n", "\r\n\r\n", "\r\r", "\n \n", ""]
WORDS = st.integers(0, 9_999).map(lambda number: f"w{number}w")


@st.composite
def mixes(draw: st.DrawFn) -> str:
    pairs = st.tuples(st.sampled_from(BLOCKS), st.sampled_from(SEPARATORS))
    return "".join(block + gap for block, gap in draw(st.lists(pairs, min_size=1, max_size=10)))


@st.composite
def answers(draw: st.DrawFn) -> str:
    """Documents as models write them, of numbered words that can be found again."""
    line = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)
    lines = st.lists(line, min_size=1, max_size=4)
    block = st.one_of(
        line,
        lines.map("\n".join),
        line.map("## {}".format),
        lines.map(lambda items: "\n".join(f"- **{item}**" for item in items)),
        lines.map(lambda items: "\n\n".join(f"{n}. {item}" for n, item in enumerate(items, 1))),
        lines.map(lambda items: "Text:\n" + "\n".join(f"* {i}\n  - {i}" for i in items)),
        lines.map(lambda items: "```python\n" + "\n\n".join(items) + "\n```"),
        lines.map(lambda items: "| a | b |\n|---|:-:|\n" + "\n".join(f"| {i} | x" for i in items)),
        lines.map(lambda items: "\n".join(f"> {item}" for item in items)),
    )
    return "\n\n".join(draw(st.lists(block, min_size=1, max_size=8))) + draw(
        st.sampled_from(["", "\n", "\n\n"])
    )


@st.composite
def streams(draw: st.DrawFn, documents: st.SearchStrategy[str]) -> tuple[list[str], list[bool]]:
    """A document in pieces, and after which of them there is an update."""
    text = draw(documents)
    most = draw(st.sampled_from([1, 4, 30]))
    random = draw(st.randoms(use_true_random=False))
    pieces = []
    while text:
        size = random.randint(1, most)
        pieces.append(text[:size])
        text = text[size:]
    return pieces, [random.random() < 0.7 for _ in pieces]


DOCUMENTS = st.one_of(st.lists(ATOMS, max_size=40).map("".join), mixes(), answers())


@settings(max_examples=80, deadline=None)
@given(streams(DOCUMENTS))
def test_what_was_sent_adds_up_to_the_one_shot_rendering(
    stream: tuple[list[str], list[bool]],
) -> None:
    pieces, updates = stream
    blocks, viewer = Blocks(), Viewer()
    for piece, update in zip(pieces, updates, strict=True):
        blocks.append(piece)
        if update:
            changed = blocks.update()
            before = viewer.html
            viewer.receive(blocks)
            assert changed or viewer.html == before
    html = blocks.finish()
    viewer.receive(blocks)
    assert html == viewer.html == render("".join(pieces))
    assert not blocks.healed, "only the final replacement made it right"
    assert blocks.soft == blocks.tail == ""


def without_colours(html: str) -> str:
    html = re.sub(r'<span class="\w+">([^<]*)</span>', r"\1", html)
    return re.sub(r"\n*</code>", "</code>", html)


@settings(max_examples=80, deadline=None)
@given(streams(st.one_of(st.lists(ATOMS, max_size=40).map("".join), mixes())))
def test_every_moment_shows_the_rendering_of_the_text_so_far(
    stream: tuple[list[str], list[bool]],
) -> None:
    """Up to a line of markers alone, the colours of code, and the open list, which is in pieces."""
    pieces, updates = stream
    blocks, text = Blocks(), ""
    for piece, update in zip(pieces, updates, strict=True):
        blocks.append(piece)
        text += piece
        # A definition in the tail may be half typed, so finished chunks don't know it yet.
        if update and blocks.update() and not blocks.soft and "]:" not in text:
            so_far = re.split(r"\r\n?|\n", text.removesuffix("\r"))
            shown = "".join(blocks.chunks) + blocks.tail
            complete = "\n".join(so_far[:-1]) + "\n"
            wanted = {without_colours(render("\n".join(so_far)))}
            if not re.search(r"[^\W\d_]", so_far[-1]):
                wanted.add(without_colours(render(complete)))
            assert without_colours(shown) in wanted


@settings(max_examples=30, deadline=None)
@given(streams(answers()))
def test_no_word_is_missing_or_twice_at_any_moment(stream: tuple[list[str], list[bool]]) -> None:
    pieces, _ = stream
    blocks, text = Blocks(), ""
    for piece in pieces:
        blocks.append(piece)
        text += piece
        blocks.update()
        shown = words_in("".join(blocks.chunks) + blocks.soft + blocks.tail)
        assert shown == words_in(text)


# --- Where it is cut ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("a\n", 0),
        ("a\n\n", 1),
        ("a\n \t\n", 1),
        ("a\n\nb", 1),
        ("# a\n", 0),
        ("# a\n\n", 1),
        ("> a\n\n", 1),
        ("| a |\n|---|\n| b |\n", 0),
        ("| a |\n|---|\n| b |\n\n", 1),
        ("- a\n- b\n\n", 0),
        ("- a\n- b\n\n-", 0),
        ("- a\n- b\n\n  c", 0),
        ("- a\n- b\n\nc", 1),
        ("a:\n- b\n", 1),
        ("a:\n- b", 0),
        ("a:\n```", 0),
        ("a:\n```\n", 1),
        ("```\na\n\nb\n", 0),
        ("```\na\n\nb\n```\n\n", 1),
        ("    a\n\n", 0),
        ("    a\n\nb", 1),
        ("[a]: https://b.example\n\nc\n\n", 1),
    ],
)
def test_a_chunk_is_finished_as_soon_as_nothing_can_change_it(text: str, chunks: int) -> None:
    assert len(written(text).chunks) == chunks


@pytest.mark.parametrize(
    ("before", "after", "final"),
    [
        ("a\n\nb", "\n===\n", "<h1>b</h1>"),
        ("a\n\nb | c", "\n--|--\n", "<table>"),
        ("- a\n- b\n", "\n- c", "<p>a</p>"),
        ("- a\n\n", "  - b", "<ul>\n<li>b</li>"),
        ("a\n\n-", "--\n", "<hr>"),
        ("a\n\n1", "0 apples", "10 apples"),
        ("```\na\n", "\n\nb\n```", "a\n\n\nb\n"),
        ("- a\n- b\n" + "- " * 120, "-\n", "</ul>\n<hr>"),
        ("# h\n[a]: https://b.example\n'of\n", "two'\n\n[a]", 'title="of\ntwo"'),
        ("a\nb | c\n--|", "--\n", "<p>a</p>\n<div"),
        (f"a\nb | c\n{'-' * 250}|--", "x\n", f"<p>a\nb | c\n{'-' * 250}|--x</p>"),
    ],
)
def test_what_may_still_change_stays_open(before: str, after: str, final: str) -> None:
    blocks = written(before)
    blocks.append(after)
    blocks.update()
    assert final in blocks.finish()
    assert not blocks.healed
    assert blocks.rewrites == 0


@pytest.mark.parametrize("markers", ["-", "**", "``", "`", "~~", "1.", "#", "|", "|--", "=", "> -"])
def test_markers_alone_are_held_back_until_they_say_more(markers: str) -> None:
    blocks = written("| a |\n" + markers)
    assert blocks.tail == "<p>| a |</p>\n"
    assert blocks.finish() == render("| a |\n" + markers)


def test_line_ends_may_be_split() -> None:
    assert written("a\r\nb").tail == "<p>a\nb</p>\n"
    blocks = written("a\r\n\r\nb\rc\r")
    assert blocks.chunks == ["<p>a</p>\n"]
    assert blocks.tail == "<p>b\nc</p>\n"
    assert blocks.finish() == "<p>a</p>\n<p>b\nc</p>\n"


def test_a_whole_text_at_once_is_cut_too() -> None:
    blocks = Blocks("a\n\nb\n\n- c\n- d\n- e")
    assert blocks.update()
    assert not blocks.update()
    assert "".join(blocks.chunks) == "<p>a</p>\n<p>b</p>\n"
    assert blocks.text == "a\n\nb\n\n- c\n- d\n- e"


def test_finishing_ends_the_text() -> None:
    blocks = Blocks("*a")
    assert blocks.finish() == blocks.finish() == "<p>*a</p>\n"
    assert not blocks.update()
    with pytest.raises(ValueError, match="finished"):
        blocks.append("*")


# --- Lists --------------------------------------------------------------------------------------


def test_finished_items_of_an_open_list_are_not_sent_again_with_the_tail() -> None:
    blocks = written("3. a\n4. b\n5. c")
    assert blocks.soft == ('<ol start="3">\n<li>a</li>\n</ol>\n<ol start="4">\n<li>b</li>\n</ol>\n')
    assert blocks.tail == '<ol start="5">\n<li>c</li>\n</ol>\n'
    blocks.append("\n\nd")
    blocks.update()
    assert blocks.chunks == ['<ol start="3">\n<li>a</li>\n<li>b</li>\n<li>c</li>\n</ol>\n']
    assert blocks.soft == ""


def test_the_soft_zone_only_grows_at_its_end() -> None:
    blocks, soft = Blocks(), ""
    for number in range(30):
        blocks.append(f"- item {number}\n" + "\n" * (number == 20))
        blocks.update()
        assert blocks.soft.startswith(soft)
        soft = blocks.soft
    assert soft.count("<li>") == 29
    assert soft.endswith("<p>item 28</p>\n</li>\n</ul>\n"), "the list was loose by then"


def test_an_item_that_would_be_a_table_by_itself_stays_an_item() -> None:
    blocks = written("- a\n- b | c\n|--|--|\n\n  still b\n\nend")
    assert blocks.chunks == [render("- a\n- b | c\n|--|--|\n\n  still b\n")]
    assert "<table" not in blocks.chunks[0]


# --- Fences -------------------------------------------------------------------------------------


def test_an_open_fence_shows_its_code_and_is_highlighted_when_it_closes() -> None:
    blocks = written("```python\nif x < 1:\n    pass\n``")
    assert '<code class="highlight">if x &lt; 1:\n    pass\n</code>' in blocks.tail
    assert "<span>Python</span>" in blocks.tail
    blocks.append("`\n")
    blocks.update()
    assert '<span class="k">if</span>' in blocks.tail


def test_a_fence_still_open_at_the_end_is_highlighted_then() -> None:
    text = "```python\nif x"
    blocks = written(text)
    assert '<span class="k">' not in blocks.tail
    assert '<span class="k">if</span>' in blocks.finish()
    assert not blocks.healed


@pytest.mark.parametrize("line", ["``", "````x", "    ```", "~~~", "``` x", "\t```"])
def test_a_line_like_a_closing_fence_does_not_close_it(line: str) -> None:
    blocks = written(f"```\na\n{line}\nb\n")
    assert blocks.chunks == []
    assert f"a\n{line}\nb\n</code>" in blocks.tail
    blocks.append("  ````  \n\nc")
    blocks.update()
    assert blocks.chunks == [render(f"```\na\n{line}\nb\n```\n")]


# --- Reference definitions ----------------------------------------------------------------------


def test_a_late_definition_rewrites_the_chunks_that_waited_for_it() -> None:
    blocks = written("no link\n\n[a] and [b]\n\n[c]\n\n")
    assert blocks.rewrites == 0
    first, _, third = blocks.chunks
    blocks.append("[A]: https://a.example\n\nend")
    blocks.update()
    assert blocks.rewrites == 1
    assert blocks.chunks[0] == first
    assert 'href="https://a.example"' in blocks.chunks[1]
    assert blocks.chunks[2] == third
    blocks.append("\n\n[unused]: https://d.example\n\nend")
    blocks.update()
    assert blocks.rewrites == 1, "nobody waited for that one"
    assert blocks.finish() == render(blocks.text)
    assert not blocks.healed


def test_a_half_typed_definition_does_not_win() -> None:
    blocks = written("[a]: https://b.exam\n\n[a]: https://other.example\n\n[a]\n\n"[:19])
    blocks.append("ple/long\n\n[a]: https://other.example\n\n[a]\n\n")
    blocks.update()
    assert 'href="https://b.example/long"' in "".join(blocks.chunks)


def test_the_first_definition_wins_across_chunks() -> None:
    text = "[a]: https://first.example\n\n[a]\n\n[a]: https://second.example\n\n[a]\n\n"
    blocks = written(text)
    assert "".join(blocks.chunks).count('href="https://first.example"') == 2
    assert blocks.rewrites == 0


def test_beyond_the_limit_late_definitions_wait_for_the_end() -> None:
    """The documented case in which the end replaces everything."""
    count = MAX_REWRITES + 5
    blocks = Blocks("".join(f"[l{number}]\n\n" for number in range(count)))
    blocks.update()
    for number in range(count):
        blocks.append(f"[l{number}]: https://a.example/{number}\n\n")
        blocks.update()
    assert blocks.rewrites == MAX_REWRITES
    assert "".join(blocks.chunks).count("href") == MAX_REWRITES
    assert blocks.finish().count("href") == count
    assert blocks.healed
    assert blocks.rewrites == MAX_REWRITES + 1
    assert blocks.chunks == [render(blocks.text)]


# --- Safety -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *HOSTILE_TEXTS,
        *(spelling.replace("{url}", "javascript:alert(1)") for spelling in IMAGE_SPELLINGS),
        *(f"- a\n- {text}\n- b" for text in HOSTILE_TEXTS),
        *(f"```<img src=x>\n{text}\n" for text in HOSTILE_TEXTS),
        *(f"| a |\n|---|\n| {text} |\n" for text in HOSTILE_TEXTS),
    ],
)
def test_every_moment_of_a_hostile_text_is_safe(text: str) -> None:
    blocks = Blocks()
    for character in text:
        blocks.append(character)
        if blocks.update():
            for html in (*blocks.chunks[-1:], blocks.soft, blocks.tail):
                Page(html)
    Page(blocks.finish())


# --- Cost ---------------------------------------------------------------------------------------

PART = (
    "## Section\n\nSome *words* on the matter, with `code` and a [link](https://a.example).\n\n"
    "Steps:\n\n1. **First** do this\n2. Then that\n   - with care\n3. Done\n\n"
    "```python\ndef f(x):\n    return x + 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
)


def parsed_per_character(text: str, step: int = 10) -> float:
    blocks = written(text, step)
    return blocks.parsed / len(text)


@pytest.mark.parametrize(
    ("text", "at_most"),
    [
        (PART * 25, 15),
        ("- an item of a long list\n" * 400, 15),
        ("1. an item\n\n" * 400, 15),
        ("```python\n" + "x = [1, 2]\n" * 1_000, 1),
        ("A list:\n" + "* an item\n  - with another in it\n" * 300, 15),
    ],
    ids=["mixed", "list", "loose list", "fence", "list after a line"],
)
def test_the_cost_of_a_character_does_not_grow_with_the_text(text: str, at_most: int) -> None:
    whole = parsed_per_character(text)
    assert whole < at_most
    half = text[: len(text) // 2]
    assert whole < 1.2 * parsed_per_character(half) + 0.1
    every_time = sum(range(10, len(text), 10)) / len(text)  # what rendering it all would parse
    assert whole < every_time / 25


@pytest.mark.parametrize("line", ["some more words ", "| a longer cell | and some more words |\n"])
def test_one_giant_block_costs_less_than_its_square(line: str) -> None:
    text = "| a | b |\n|---|---|\n" + line * (20_000 // len(line))
    blocks, every_time = Blocks(), 0
    for start in range(0, len(text), 40):
        blocks.append(text[start : start + 40])
        if start > LONG_TAIL_CHARS:
            every_time += start
            blocks.update()
    assert blocks.parsed < every_time / 3
    assert blocks.finish() == render(text)
    assert not blocks.healed


def test_new_text_of_a_giant_block_is_shown_at_once() -> None:
    blocks = Blocks("word " * (LONG_TAIL_CHARS // 5 + 1))
    blocks.update()
    parsed = blocks.parsed
    blocks.append("<new>")
    assert blocks.update()
    assert blocks.tail.endswith("<p>&lt;new&gt;</p>\n")
    assert blocks.parsed == parsed
    blocks.append("word " * 100)
    assert blocks.update()
    assert blocks.parsed > parsed
    assert blocks.tail.count("<p>") == 1


@pytest.mark.timeout(300)
@pytest.mark.parametrize("start", [">", "> ", "[", "- ", "![a](", "1. ", "*a **b "])
def test_pathological_text_can_grow(start: str) -> None:
    text = start * (1_500 // len(start))
    blocks = written(text, 30)
    assert blocks.finish() == render(text)
    assert not blocks.healed
