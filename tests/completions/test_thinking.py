"""Reasoning in front of a text is told from it, however the text is cut."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from completions.thinking import ThoughtSplitter

pieces = st.lists(
    st.sampled_from(["<think>", "</think>", "<", "/", "think", ">", " ", "\n", "a", "<b>"]),
    max_size=12,
).map("".join)


def split(parts: list[str]) -> tuple[str, str]:
    splitter = ThoughtSplitter()
    text = thought = ""
    for part in parts:
        more_text, more_thought = splitter.feed(part)
        text, thought = text + more_text, thought + more_thought
    more_text, more_thought = splitter.finish()
    return text + more_text, thought + more_thought


@given(pieces, st.data())
def test_the_cut_makes_no_difference(whole: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    edges = [0, *cuts, len(whole)]
    assert split([whole[a:b] for a, b in pairwise(edges)]) == split([whole])


@given(pieces)
def test_nothing_is_lost_but_the_tags_and_the_space_beside_them(whole: str) -> None:
    text, thought = split([whole])
    if not whole.lstrip().startswith("<think>"):
        assert (text, thought) == (whole, "")
        return
    inside, _, after = whole.lstrip().removeprefix("<think>").partition("</think>")
    assert thought.strip() == inside.strip()
    assert text == after.lstrip()
