"""The difference between what a viewer has and what is: applied, it makes the page current."""

import random

from bs4 import BeautifulSoup

from conversations.fragments import Page, page_difference
from tests.conversations.viewing import Page as Tab


def page(items: dict[str, str], running: tuple[str, ...] = (), **regions: str) -> Page:
    return Page(
        items={name: f'<article id="{name}">{text}</article>' for name, text in items.items()},
        regions={name: f'<div id="{name}">{text}</div>' for name, text in regions.items()},
        running=frozenset(running),
    )


def tab(shown: Page) -> Tab:
    return Tab(f'<div id="thread">{"".join(shown.items.values())}</div>' + regions_of(shown))


def regions_of(shown: Page) -> str:
    return "".join(shown.regions.values())


def test_nothing_is_sent_where_nothing_changed() -> None:
    shown = page({"m1": "One"}, header="Title")
    assert page_difference(shown.everything(), shown) == ""


def test_a_region_that_changed_is_replaced_alone() -> None:
    before, after = page({"m1": "1"}, a="1", b="1"), page({"m1": "1"}, a="1", b="2")
    assert page_difference(before.everything(), after) == '<div id="b">2</div>'


def test_an_item_that_changed_is_replaced_and_new_ones_are_appended() -> None:
    before, after = page({"m1": "1", "m2": "…"}), page({"m1": "1", "m2": "2", "m3": "3", "m4": "4"})
    assert page_difference(before.everything(), after) == (
        '<article id="m2">2</article><div hx-swap-oob="beforeend:#thread">'
        '<article id="m3">3</article><article id="m4">4</article></div>'
    )


def test_another_branch_and_an_unknown_page_replace_the_whole_thread() -> None:
    after = page({"m1": "1", "m3": "3"}, a="1")
    whole = f'<div hx-swap-oob="innerHTML:#thread">{"".join(after.items.values())}</div>'
    before = page({"m1": "1", "m2": "2"}, a="1")
    assert page_difference(before.everything(), after) == whole
    assert page_difference(None, after) == whole + '<div id="a">1</div>'


def test_items_that_are_gone_at_the_end_replace_the_whole_thread() -> None:
    before, after = page({"m1": "1", "m2": "2"}), page({"m1": "1"})
    assert "m2" not in page_difference(before.everything(), after)
    assert "innerHTML:#thread" in page_difference(before.everything(), after)


def test_an_empty_thread_gets_its_first_items() -> None:
    after = page({"m1": "1"}, a="x")
    assert page_difference(page({}, a="x").everything(), after).startswith(
        '<div hx-swap-oob="beforeend:#thread"><article id="m1">'
    )


def test_any_difference_applied_makes_the_page_current() -> None:
    choose = random.Random(7)

    def any_page() -> Page:
        names = sorted(choose.sample(range(8), choose.randint(0, 6)))
        items = {f"m{name}": str(choose.randint(0, 2)) for name in names}
        return page(items, a=str(choose.randint(0, 1)), b=str(choose.randint(0, 1)))

    for _ in range(300):
        before, after = any_page(), any_page()
        shown = tab(before)
        known = None if choose.random() < 0.2 else before.everything()
        if difference := page_difference(known, after):
            shown.apply(difference)
        assert str(shown.document) == str(tab(after).document)


def test_the_digest_tells_pages_apart_but_for_what_is_being_written() -> None:
    first = page({"m1": "1", "m2": "…"}, ("m2",), a="1")
    assert first.digest == page({"m1": "1", "m2": "… more"}, ("m2",), a="1").digest
    others = [
        page({"m1": "1", "m2": "…"}, a="1"),
        page({"m1": "1", "m2": "…"}, ("m2",), a="2"),
        page({"m1": "x", "m2": "…"}, ("m2",), a="1"),
        page({"m2": "…", "m1": "1"}, ("m2",), a="1"),
        page({"m1": "1", "m2": "…", "m3": ""}, ("m2",), a="1"),
        page({"m1": "1", "m3": "…"}, ("m3",), a="1"),
    ]
    assert len({other.digest for other in [first, *others]}) == len(others) + 1


def test_the_test_double_swaps_as_htmx_does() -> None:
    shown = Tab('<div id="x"><p id="y">1</p></div>')
    shown.apply('<p id="y">2</p><p id="unknown">3</p>loose text')
    shown.apply('<div hx-swap-oob="beforeend:#x"><i>4</i>5</div>')
    assert str(shown.document) == str(
        BeautifulSoup('<div id="x"><p id="y">2</p><i>4</i>5</div>', "html.parser")
    )
    shown.apply('<div hx-swap-oob="innerHTML:#x"><b>6</b></div>')
    assert str(shown.document) == '<div id="x"><b>6</b></div>'
