"""A reply that is being written, read from any place, and by viewers of any age."""

import random
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from completions.types import ToolCallDelta
from conversations.growing import GrowingText
from conversations.replies import MOST_TOOL_CALLS, LiveMessage

REASONING = ("Hm, ", "so ", "<b>", "\n", "&amp;", "no.\n\n", " ")
TEXTS = (
    "Some *text*",
    "\n\n",
    "- item\n",
    "```\ncode\n",
    "end ",
    "[a]: https://example.org\n",
    "*",
)


@given(st.text(), st.lists(st.text(max_size=5)))
def test_a_growing_text_is_read_from_any_place(first: str, pieces: list[str]) -> None:
    text = GrowingText(first)
    for piece in pieces:
        text.append(piece)
    whole = first + "".join(pieces)
    assert (str(text), text.length) == (whole, len(whole))
    for offset in range(len(whole) + 2):
        assert text.since(offset) == whole[offset:]


@dataclass
class Viewer:
    """What one page has of a message, by the versions that it was given."""

    version: int = 0
    done: str = ""
    soft: str = ""
    tail: str = ""
    reasoning: str = ""
    has_reasoning: bool = False
    thought: bool = False

    def show(self, message: LiveMessage) -> None:
        """As a page that is rendered whole."""
        self.done = "".join(message.blocks.chunks)
        self.soft, self.tail = message.blocks.soft, message.blocks.tail
        self.reasoning = message.reasoning.lstrip()
        self.has_reasoning = bool(self.reasoning)
        self.thought = message.thought_seconds is not None

    def take(self, message: LiveMessage, version: int) -> None:
        change = message.since(self.version)
        self.version = version
        if change is None:
            return
        if change.begins:
            self.show(message)
            return
        assert not change.reasoning or self.has_reasoning, "nothing to append to"
        self.reasoning += change.reasoning
        self.done = change.done if change.replaces_done else self.done + change.done
        self.soft = self.soft if change.soft is None else change.soft
        self.tail = self.tail if change.tail is None else change.tail
        self.thought = self.thought or change.thought


def test_every_viewer_has_what_a_new_one_is_shown() -> None:
    choose = random.Random(5)
    for _ in range(200):
        before = choose.choice(["", "Begun *be"]), choose.choice(["", "Thought be"])
        message = LiveMessage(1, *before)
        viewers = [Viewer() for _ in range(3)]
        for viewer in viewers:
            viewer.show(message)
        version = 0
        for now in range(40):
            if choose.random() < 0.5:
                message.append_reasoning(choose.choice(REASONING), now)
            else:
                message.append(choose.choice(TEXTS), now)
            if choose.random() < 0.6 and message.update():
                version += 1
                message.note(version)
                for viewer in viewers:
                    if choose.random() < 0.5:
                        viewer.take(message, version)
        if message.update():
            version += 1
            message.note(version)
        fresh = Viewer(version)
        fresh.show(message)
        for viewer in viewers:
            viewer.take(message, version)
            # Its heading changes with the first text that can be seen.
            viewer.thought = fresh.thought
            assert viewer == fresh


def test_reasoning_alone_sends_no_text_again() -> None:
    message = LiveMessage(1, "A tail")
    message.append_reasoning("Hm", 1.0)
    assert message.update()
    message.note(1)
    message.append_reasoning(", well", 2.0)
    assert message.update()
    message.note(2)
    change = message.since(1)
    assert change is not None
    assert (change.reasoning, change.begins) == (", well", False)
    assert (change.done, change.soft, change.tail, change.thought) == ("", None, None, False)


def test_its_heading_changes_once_with_the_first_text() -> None:
    message = LiveMessage(1, "")
    changes = []
    for version, (reasoning, text) in enumerate([("a", ""), ("", "b"), ("", "c")], start=1):
        if reasoning:
            message.append_reasoning(reasoning, float(version))
        else:
            message.append(text, float(version))
        assert message.update()
        message.note(version)
        changes.append(message.since(version - 1))
    assert [change and change.thought for change in changes] == [False, True, False]
    assert message.thought_seconds == 1.0


def test_reasoning_of_white_space_alone_is_nothing_to_show() -> None:
    message = LiveMessage(1, "")
    message.append_reasoning("\n\n", 1.0)
    assert not message.update()
    message.append_reasoning("Hm", 1.0)
    assert message.update()
    message.note(1)
    change = message.since(0)
    assert change is not None
    assert change.begins


def test_tool_calls_are_told_apart_by_index_and_bounded() -> None:
    message = LiveMessage(1, "")
    deltas = [
        ToolCallDelta(7, id="a\x00", name="first"),
        ToolCallDelta(2, id="b", name="second", arguments="{"),
        ToolCallDelta(7, arguments='{"x":'),
        ToolCallDelta(7, id="other", name="other", arguments=" 1}"),
        ToolCallDelta(2, arguments="}"),
    ]
    for delta in deltas:
        message.append_tool_call(delta, 0.0)
    calls = [(call.id, call.name, call.arguments) for call in message.tool_calls]
    assert calls == [("a", "first", '{"x": 1}'), ("b", "second", "{}")]
    assert message.tool_calls[0].arguments_since(5) == " 1}"
    for index in range(10, 10 + 2 * MOST_TOOL_CALLS):
        message.append_tool_call(ToolCallDelta(index, id="x"), 0.0)
    assert len(message.tool_calls) == MOST_TOOL_CALLS
