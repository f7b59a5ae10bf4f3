"""The pages about programs: how to call, what was called, and going on from a call."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from completions.parsing import ServedRequest
from completions.types import ChatMessage, CompletionRequest
from conversations import actions
from conversations.allowances import take
from conversations.calls import (
    abandon,
    abandon_left_behind,
    find_call,
    keep_waiting,
    refuse_queued,
    start_call,
)
from conversations.examples import EXAMPLES
from conversations.models import ApiCall, Conversation, Message, Role, Source, Turn, TurnState
from conversations.usage import Month, Row, read_usage
from organizations.models import AccessToken
from tests.conftest import Cast
from tests.organizations.test_entering import at_once

pytestmark = pytest.mark.django_db


@pytest.fixture
def token(cast: Cast) -> AccessToken:
    return AccessToken.issue(cast.membership(cast.alice), "Nightly report")[0]


def call_of(
    token: AccessToken, *said: tuple[str, str], answer: str = "Blue.", **more: Any
) -> ApiCall:
    """A call that has ended."""
    messages = tuple(ChatMessage(role, text) for role, text in said or [("user", "Which colour?")])
    request = CompletionRequest("test-model", messages)
    call = start_call(uuid.uuid4(), token, ServedRequest(request), owner="here")
    Message.objects.filter(turn=call.turn).update(text=answer)
    ended = {"state": TurnState.COMPLETE, "prompt_tokens": 10, "completion_tokens": 5, **more}
    Turn.objects.filter(pk=call.turn_id).update(**ended)
    return call


def page(client: Client, name: str, query: str = "") -> BeautifulSoup:
    response = client.get(reverse(name) + query)
    assert response.status_code == 200
    return BeautifulSoup(response.content, "html.parser")


@pytest.mark.django_db(transaction=True)
def test_a_rate_holds_for_all_who_ask_at_the_same_moment() -> None:
    """Each thread has a connection of its own, as another process would have."""
    taken = at_once(lambda number: take({"a": 5}), 20)
    assert sum(rate.retry_after == 0 for rate in taken) == 5


def test_the_examples_carry_the_readers_own_address(sign_in: Any, cast: Cast) -> None:
    shown = page(sign_in(cast.bob), "api_docs")
    address = f"http://testserver/api/organizations/{cast.organization.pk}/ai"
    assert shown.find(id="base-url")["value"] == address  # type: ignore[index]
    export, *blocks = [pre.get_text() for pre in shown.find_all("pre")]
    assert export.startswith("export CHATSITE_TOKEN=")
    assert len(blocks) == len(EXAMPLES) == 4
    for block, example in zip(blocks, EXAMPLES, strict=True):
        assert block.strip() == example.code(address, "test-model").strip()
        assert address in block


def test_calls_are_listed_newest_first_and_open_as_records(
    sign_in: Any, cast: Cast, token: AccessToken
) -> None:
    client = sign_in(cast.alice)
    assert "No calls yet" in page(client, "api_calls").get_text()
    first = call_of(token, ("system", "Be brief."), ("user", "First question?"))
    call_of(token, ("user", "Second question?"), state=TurnState.FAILED)
    shown = page(client, "api_calls")
    rows = shown.select("ul.rows li")
    assert [row.select_one(".row-main").next for row in rows] == [  # type: ignore[union-attr]
        "Second question?",
        "First question?",
    ]
    assert "Nightly report · test-model · 15 tokens" in rows[1].get_text()
    assert "Failed" in rows[0].get_text()
    record = client.get(f"/c/{first.turn.conversation_id}/").content.decode()
    assert "Be brief." in record
    assert "Blue." in record
    assert "This is a record of a call" in record
    assert 'id="composer"' not in record


def test_calls_are_nobody_elses_and_not_among_the_chats(
    sign_in: Any, cast: Cast, token: AccessToken
) -> None:
    call = call_of(token)
    for person in (cast.bob, cast.mallory):
        client = sign_in(person)
        assert "Which colour?" not in page(client, "api_calls").get_text()
        assert client.get(f"/c/{call.turn.conversation_id}/").status_code == 404
    mine = sign_in(cast.alice)
    assert "Which colour?" not in page(mine, "conversation_list").get_text()
    assert "Which colour?" not in page(mine, "conversation_new").get_text()


def test_older_calls_are_a_page_away_and_tokens_filter(
    sign_in: Any, cast: Cast, token: AccessToken
) -> None:
    other = AccessToken.issue(cast.membership(cast.alice), "Other")[0]
    now = timezone.now()
    for number in range(60):
        call = call_of(token, ("user", f"Question {number}"))
        ApiCall.objects.filter(pk=call.pk).update(created_at=now - timedelta(minutes=number))
    call_of(other, ("user", "By the other"))
    client = sign_in(cast.alice)
    shown = page(client, "api_calls", "?token=Nightly+report")
    assert "By the other" not in shown.get_text()
    assert len(shown.select("ul.rows li")) == 50
    older = shown.find("a", string="Older calls")
    rest = page(client, "api_calls", older["href"])  # type: ignore[index, arg-type]
    texts = [row.get_text() for row in rest.select("ul.rows li")]
    assert len(texts) == 10
    assert "Question 50" in texts[0]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("before=nonsense", 1),
        ("before=0001-01-01T00:00:00%2B14:00", 1),
        ("before=9999-12-31T23:59:59-14:00", 1),
        ("before=9999-12-31T23:59:59Z", 1),
        ("before=0001-01-01T00:00:00Z", 0),
        ("token=%00", 0),
        ("token=%ED%A0%80", 0),
        ("token=Nobody", 0),
    ],
)
def test_what_no_link_of_the_page_asks_for(
    sign_in: Any, cast: Cast, token: AccessToken, query: str, count: int
) -> None:
    call_of(token)
    shown = page(sign_in(cast.alice), "api_calls", f"?{query}")
    assert len(shown.select("ul.rows li")) == count


def test_a_record_is_read_only(sign_in: Any, cast: Cast, token: AccessToken) -> None:
    call = call_of(token)
    client = sign_in(cast.alice)
    sent = client.post(f"/c/{call.turn.conversation_id}/messages/", {"text": "More?"})
    assert sent.status_code == 409
    assert Message.objects.filter(conversation=call.turn.conversation_id).count() == 2


def test_a_call_is_continued_in_a_chat_of_ones_own(
    sign_in: Any, cast: Cast, token: AccessToken
) -> None:
    call = call_of(
        token,
        ("system", "Be brief."),
        ("developer", "No lists."),
        ("user", "First?"),
        ("assistant", "One."),
        ("tool", "42"),
        ("user", "Second?"),
        answer="Two.",
    )
    client = sign_in(cast.alice)
    response = client.post(f"/c/{call.turn.conversation_id}/fork/")
    copy = Conversation.objects.get(source=Source.PAGE)
    assert response["Location"] == f"/c/{copy.pk}/"
    assert (copy.owner, copy.system_prompt) == (cast.alice, "Be brief.\n\nNo lists.")
    rows = list(copy.messages.order_by("pk").values_list("role", "text", "parent_id", "pk"))
    assert [row[:2] for row in rows] == [
        (Role.USER, "First?"),
        (Role.ASSISTANT, "One."),
        (Role.USER, "Second?"),
        (Role.ASSISTANT, "Two."),
    ]
    assert [row[2] for row in rows] == [None, rows[0][3], rows[1][3], rows[2][3]]
    assert copy.leaf_id == rows[-1][3]
    sent = client.post(f"/c/{copy.pk}/messages/", {"text": "More?", "client_id": uuid.uuid4()})
    assert sent.status_code == 302


def test_a_record_can_be_deleted_and_restored(sign_in: Any, cast: Cast, token: AccessToken) -> None:
    call = call_of(token)
    client = sign_in(cast.alice)
    client.post(f"/c/{call.turn.conversation_id}/delete/")
    assert "Which colour?" not in page(client, "api_calls").get_text()
    client.post(f"/c/{call.turn.conversation_id}/restore/")
    assert "Which colour?" in page(client, "api_calls").get_text()


def test_an_abandoned_call_says_so(sign_in: Any, cast: Cast, token: AccessToken) -> None:
    request = CompletionRequest("test-model", (ChatMessage("user", "Hello?"),))
    call = start_call(uuid.uuid4(), token, ServedRequest(request), owner="here")
    abandon(call)
    abandon(call)
    found = find_call(token, call.pk)
    assert (found.abandoned, found.turn.state) == (True, TurnState.STOPPED)
    assert "Left by the program" in page(sign_in(cast.alice), "api_calls").get_text()


def test_a_finished_call_cannot_be_abandoned(token: AccessToken) -> None:
    call = call_of(token)
    abandon(call)
    assert not find_call(token, call.pk).abandoned


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000.0
        monkeypatch.setattr("conversations.allowances.time.time", lambda: self.now)


def test_a_rate_allows_a_minutes_worth_at_once_and_then_one_at_a_time(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    taken = [take({"a": 3}) for _ in range(4)]
    assert [(rate.remaining, rate.retry_after) for rate in taken if rate] == [
        (2, 0), (1, 0), (0, 0), (0, 20)
    ]  # fmt: skip
    clock.now += 19.9
    assert take({"a": 3}).retry_after == 1  # type: ignore[union-attr]
    clock.now += 0.2
    assert take({"a": 3}).retry_after == 0  # type: ignore[union-attr]
    assert take({"a": 3}).retry_after == 20  # type: ignore[union-attr]
    clock.now += 3600
    assert take({"a": 3}).remaining == 2  # type: ignore[union-attr]


def test_of_several_limits_the_tightest_is_told_and_a_refusal_counts_for_none(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    first = take({"a": 10, "b": 1})
    assert first
    assert (first.limit, first.remaining) == (1, 0)
    refused = take({"a": 10, "b": 1})
    assert refused
    assert (refused.limit, refused.retry_after) == (1, 60)
    left = take({"a": 10})
    assert left
    assert left.remaining == 8
    assert take({"a": 0}) is None


def test_usage_is_summed_by_month_with_the_prices_of_its_time(
    sign_in: Any, cast: Cast, token: AccessToken
) -> None:
    for prices in ({}, {"prompt_price": "2.5", "completion_price": "10"}, {"prompt_price": "1"}):
        call = call_of(token, prompt_tokens=1_000_000, completion_tokens=200_000, **prices)
    Turn.objects.filter(pk=call.turn_id).update(model="other-model", author=cast.bob)
    made = datetime(2026, 3, 31, 12, tzinfo=UTC)
    Turn.objects.update(created_at=made)
    old = call_of(token)
    Turn.objects.filter(pk=old.turn_id).update(created_at=made - timedelta(days=40))
    month = Month(2026, 3)
    whole = read_usage(cast.organization.pk, month)
    assert whole.total == Row("", 3, 3_000_000, 600_000, 5.5)
    assert whole.by_model == (
        Row("test-model", 2, 2_000_000, 400_000, 4.5),
        Row("other-model", 1, 1_000_000, 200_000, 1.0),
    )
    assert [row.name for row in whole.by_person] == ["Alice", "Bob"]
    assert whole.by_source == (Row("API", 3, 3_000_000, 600_000, 5.5),)
    mine = read_usage(cast.organization.pk, month, only=cast.alice)
    assert mine.total.turns == 2
    assert read_usage(cast.elsewhere.pk, month).total == Row("", 0, 0, 0, None)


def test_only_admins_see_the_organizations_usage(
    sign_in: Any, cast: Cast, token: AccessToken
) -> None:
    call_of(token)
    Turn.objects.update(created_at=datetime(2026, 3, 31, 12, tzinfo=UTC))
    admin, member = sign_in(cast.alice), sign_in(cast.bob)
    assert "By person" in page(admin, "usage", "?month=2026-03&of=all").get_text()
    assert "By person" not in page(admin, "usage", "?month=2026-03").get_text()
    shown = page(member, "usage", "?month=2026-03&of=all").get_text()
    assert "By person" not in shown
    assert "Nothing in this month" in shown
    for odd in ("?month=x", "?month=9999-12", "?month=0001-01", "?month=2026-13"):
        assert page(admin, "usage", odd)


@pytest.mark.parametrize(
    ("month", "before", "after"),
    [((2026, 1), "2025-12", "2026-02"), ((2026, 12), "2026-11", "2027-01")],
)
def test_months_follow_each_other(month: tuple[int, int], before: str, after: str) -> None:
    assert (str(Month(*month).previous), str(Month(*month).next)) == (before, after)


def test_a_queued_call_that_nobody_waits_for_is_ended(token: AccessToken) -> None:
    request = CompletionRequest("test-model", (ChatMessage("user", "Hello?"),))
    asked = ServedRequest(request)
    left, kept, keyed = (
        start_call(uuid.uuid4(), token, asked, owner="here", key=key) for key in (None, None, "k")
    )
    Turn.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert set(Turn.objects.waited_for("elsewhere")) == {keyed.turn}
    assert set(Turn.objects.waited_for("here")) == {left.turn, kept.turn, keyed.turn}
    keep_waiting(kept)
    assert abandon_left_behind() == 1
    states = {call.pk: find_call(token, call.pk).turn.state for call in (left, kept, keyed)}
    assert states == {left.pk: "stopped", kept.pk: "queued", keyed.pk: "queued"}
    assert abandon_left_behind() == 0


@pytest.mark.parametrize("end", ["abandon", "delete", "refuse"])
def test_a_queued_call_that_ends_leaves_no_word_where_none_is_kept(
    cast: Cast, token: AccessToken, end: str
) -> None:
    cast.organization.allows_unstored_calls = True
    cast.organization.save()
    token.refresh_from_db()
    request = CompletionRequest(
        "test-model", (ChatMessage("user", "A secret?"),), stop=("secret",), options={"seed": 7}
    )
    call = start_call(uuid.uuid4(), token, ServedRequest(request, store=False), owner="here")
    match end:
        case "abandon":
            abandon(call)
        case "delete":
            actions.delete(call.turn.conversation, cast.alice)
        case "refuse":
            assert refuse_queued("elsewhere") == 0
            assert refuse_queued("here") == 1
    rows = [*Message.objects.values(), *Conversation.objects.values(), *Turn.objects.values()]
    assert "secret" not in str(rows)
    assert ApiCall.objects.get().options == {}
    assert not Turn.objects.get().is_running


def test_a_long_prompt_is_stored_as_a_chain(token: AccessToken) -> None:
    other = call_of(token, *[("user", str(number)) for number in range(3)])
    call = call_of(token, *[("user", str(number)) for number in range(500)])
    for made, count in ((other, 3), (call, 500)):
        rows = made.turn.conversation.messages.order_by("pk").values_list("pk", "parent_id", "text")
        found = list(rows)
        assert [parent for _, parent, _ in found] == [None, *[pk for pk, _, _ in found[:-1]]]
        assert [text for _, _, text in found] == [*map(str, range(count)), "Blue."]


@pytest.mark.parametrize(
    ("cost", "shown"),
    [(None, ""), (0.0, "0.00"), (0.00025, "0.0003"), (0.5, "0.50"), (1234.5, "1,234.50")],
)
def test_a_small_cost_is_not_shown_as_none(cost: float | None, shown: str) -> None:
    assert Row("", cost=cost).cost_shown == shown
