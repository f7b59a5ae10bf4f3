"""What the design is for: nothing that anybody saw is lost, whatever dies.

The real server as a subprocess, a scripted provider, and real sockets.
"""

import contextlib
import itertools
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import ConnectionClosed

from conversations.blocks import render
from conversations.prompts import ASK_TO_CONTINUE
from tests.sites import ALICE, BOB, WAIT_SECONDS, Site, wait_until
from tests.upstream import Answer, Held, Received
from tests.visitor import HTTP_SECONDS, View, Visitor, normal

pytestmark = pytest.mark.timeout(600)

PIECE_SECONDS = 0.02
MOST_BEHIND_SECONDS = 0.5
# On a busy computer; otherwise a lease of 8 s, and at once.
MOST_TO_INTERRUPTED_SECONDS = 25.0
MOST_TO_CLOSED_SECONDS = 30.0
GRACE_SECONDS = 120  # no test waits for its end


@pytest.fixture(scope="module")
def shared_site() -> Iterator[Site]:
    with Site({"GRACE_SECONDS": str(GRACE_SECONDS)}) as site:
        yield site


@pytest.fixture
def site(shared_site: Site) -> Site:
    """The running site, whatever the test before has done to it."""
    shared_site.reset()
    return shared_site


@pytest.fixture
def alice(site: Site) -> Iterator[Visitor]:
    with Visitor(site, ALICE) as visitor:
        yield visitor


def test_kill_9_loses_at_most_half_a_second_and_continue_goes_on_from_the_cut(
    site: Site, alice: Visitor
) -> None:
    held = site.upstream.hold()
    conversation = alice.start("Count up")
    held.send_reasoning("Start with 1, and ")
    held.send_reasoning("never stop.")
    feeder = Feeder(held)
    view = alice.open(conversation).until_text("number 30 ")
    seen = view.text.strip()
    wait_until(lambda: _keeps_up(site, conversation, feeder), "a log that is hardly behind")
    logged = site.logged(conversation)

    site.server.kill()
    sent = feeder.stop()
    view.close()
    site.server.start()
    started_at = time.monotonic()
    with alice.open(conversation) as after:
        after.until_final()
        took = time.monotonic() - started_at

        assert (after.state, took < MOST_TO_INTERRUPTED_SECONDS) == ("interrupted", True), took
        (answer,) = site.answers(conversation)
        kept = answer["text"]
        assert sent.startswith(kept)
        assert kept.startswith(logged)
        assert kept.startswith(seen)
        assert answer["reasoning"] == "Start with 1, and never stop."
        assert "Start with 1, and never stop." in after.thread
        assert "never stop" not in kept
        assert site.logged(conversation) == ""
        assert "Interrupted: the server ended unexpectedly." in after.thread
        assert "At most the last half second is missing." in after.thread

        held = site.upstream.hold()
        response = alice.post(f"/messages/{answer['id']}/continue/")
        assert response.status_code == 200
        held.send(" and on.")
        held.finish()
        after.until(lambda page: page.state == "complete", "the end of the continued answer")

    assert held.request.messages[-2:] == [
        {"role": "assistant", "content": kept},
        {"role": "user", "content": ASK_TO_CONTINUE},
    ]
    (answer,) = site.answers(conversation)
    assert answer["text"] == f"{kept} and on."
    assert answer["reasoning"] == "Start with 1, and never stop."
    assert normal(after.body) == normal(answer["html"]) == normal(render(answer["text"]))


def test_sigterm_lets_answers_finish_and_keeps_what_is_sent_meanwhile(
    site: Site, alice: Visitor
) -> None:
    held = site.upstream.hold()
    conversation = alice.start("Take your time")
    view = alice.open(conversation)
    held.send("The first half, ")
    view.until_text("The first half,")
    site.upstream.enqueue(Answer("Quick."))
    other = alice.open(alice.start("Something else")).until_final()

    said_before = site.server.log.count("Waiting up to")  # other tests' log is in the same file
    site.server.signal(signal.SIGTERM)
    wait_until(lambda: site.server.log.count("Waiting up to") > said_before, "it drains")
    client_id = other.send("Sent while the server drains")
    other.until(lambda page: page.accepted == client_id, "the message is taken")
    held.send("the second half.")
    held.finish()
    view.until_final()
    codes = [view.until_closed(), other.until_closed()]

    assert site.server.wait() == 0
    assert (view.state, view.text.strip()) == ("complete", "The first half, the second half.")
    assert codes == [1012, 1012]
    (answer,) = site.answers(conversation)
    assert answer["text"] == "The first half, the second half."
    assert [turn["state"] for turn in site.turns(other.conversation_id)] == ["complete", "queued"]

    site.upstream.enqueue(Answer("Answered after the restart."))
    site.server.start()
    with alice.open(other.conversation_id) as after:
        after.until_text("Answered after the restart.").until_final()
    prompts = [request.messages[-1]["content"] for request in site.upstream.requests]
    assert prompts.count("Sent while the server drains") == 1


def test_an_answer_longer_than_the_grace_is_stored_as_interrupted() -> None:
    with Site({"GRACE_SECONDS": "1"}) as site, Visitor(site, ALICE) as alice:
        held = site.upstream.hold()
        conversation = alice.start("Take very long")
        with alice.open(conversation) as view:
            held.send("What was **written** so far")
            view.until_text("so far")

            code = site.server.terminate()
            view.until_final()

        (answer,) = site.answers(conversation)
        (turn,) = site.turns(conversation)
        assert code == 0
        assert (answer["text"], turn["state"]) == ("What was **written** so far", "interrupted")
        assert normal(answer["html"]) == normal(view.body) == normal(render(answer["text"]))
        assert held.wait_closed(MOST_TO_CLOSED_SECONDS)


def test_a_second_sigterm_ends_the_grace_at_once(site: Site, alice: Visitor) -> None:
    held = site.upstream.hold()
    conversation = alice.start("Take very long")
    held.send("Kept all the same")
    wait_until(lambda: site.logged(conversation), "text in the log")

    said_before = site.server.log.count("Waiting up to")
    site.server.signal(signal.SIGTERM)
    wait_until(lambda: site.server.log.count("Waiting up to") > said_before, "it drains")
    code = site.server.terminate(GRACE_SECONDS / 2)

    assert code == 0
    assert site.answers(conversation)[0]["text"] == "Kept all the same"
    assert site.turns(conversation)[0]["state"] == "interrupted"


def test_frames_sent_again_and_by_two_tabs_make_one_turn(site: Site, alice: Visitor) -> None:
    conversation = alice.start("Hello")
    first = alice.open(conversation).until_final()
    second = alice.open(conversation).until_final()
    held = site.upstream.hold()

    client_id = first.send("One of these")
    first.send("One of these", client_id)
    first.until(lambda page: page.accepted == client_id, "the first tab's message is taken")
    second.send("Another of these")
    second.until(lambda page: "An answer is being written." in page.notice, "the refusal")
    first.reconnect()
    first.send("One of these", client_id)  # replayed after the connection came back
    held.send("Once")
    held.finish()
    first.until_text("Once").until_final()
    second.until_text("Once").until_final()

    asked = [request.messages[-1]["content"] for request in site.upstream.requests]
    assert asked == ["Hello", "One of these"]
    assert len(site.turns(conversation)) == 2
    assert first.thread == second.thread
    first.close()
    second.close()


def test_a_double_click_on_the_start_page_is_one_conversation(site: Site, alice: Visitor) -> None:
    start_page = alice.get("/")
    form = start_page.select_one("#composer")
    assert form
    fields = {str(i["name"]): str(i["value"]) for i in form.select("input[type=hidden]")}
    fields["text"] = "Only once"

    with ThreadPoolExecutor(2) as pool:
        responses = list(pool.map(lambda _: alice.http.post("/", data=fields), range(2)))

    assert responses[0].url == responses[1].url
    conversation = str(responses[0].url).rstrip("/").rpartition("/")[2]
    assert len(site.turns(conversation)) == 1
    alice.open(conversation).until_final().close()
    assert len(site.upstream.requests) == 1


def test_stop_keeps_the_text_and_ends_the_upstream(site: Site, alice: Visitor) -> None:
    held = site.upstream.hold()
    conversation = alice.start("Go on and on")
    with alice.open(conversation) as view:
        held.send("Some text that stays")
        view.until_text("Some text that stays")

        assert alice.post(f"/c/{conversation}/stop/").status_code == 200
        assert held.wait_closed(MOST_TO_CLOSED_SECONDS)
        view.until_final()

    assert view.state == "stopped"
    assert "Stopped by Alice." in view.thread
    assert site.answers(conversation)[0]["text"] == "Some text that stays"


def test_who_may_only_read_sees_it_live_and_cannot_write(site: Site, alice: Visitor) -> None:
    held = site.upstream.hold()
    conversation = alice.start("Shared")
    with Visitor(site, BOB) as bob:
        assert bob.http.get(f"/c/{conversation}/").status_code == 404
        bob_id = site.rows("SELECT id FROM organizations_user WHERE email = ?", BOB)[0]["id"]
        alice.post(f"/c/{conversation}/sharing/", member=str(bob_id), access="read")
        with bob.open(conversation) as view:
            held.send("Live for **both**")
            view.until_text("Live for both")
            view.send("May I?")
            view.until(lambda page: "You can read this" in page.notice, "the refusal")
            held.finish()
            view.until_final()

            alice.post(f"/c/{conversation}/sharing/{bob_id}/remove/")
            assert view.until_closed() == 4404
    assert len(site.turns(conversation)) == 1


def test_who_has_signed_out_cannot_write_in_a_page_that_is_still_open(
    site: Site, alice: Visitor
) -> None:
    conversation = alice.start("Hello")
    with alice.open(conversation).until_final() as view:
        assert alice.post("/sign-out/").status_code == 200
        view.send("From a page left open")
        assert view.until_closed() == 4401
    assert len(site.turns(conversation)) == 1


def test_twenty_streams_with_readers_that_come_and_go(site: Site, alice: Visitor) -> None:
    site.upstream.answer_with(_long_answer)
    numbers = range(20)
    with ThreadPoolExecutor(10) as pool:
        conversations = list(pool.map(lambda number: alice.start(f"Answer {number}"), numbers))

    with ThreadPoolExecutor(20) as pool:
        views = list(pool.map(_follow_restlessly, itertools.repeat(alice), conversations, numbers))

    for number, conversation, view in zip(numbers, conversations, views, strict=True):
        (answer,) = site.answers(conversation)
        assert answer["text"] == _long_text(number)
        assert view.state == "complete"
        assert normal(view.body) == normal(answer["html"]) == normal(render(answer["text"]))
        with alice.open(conversation) as reloaded:
            assert reloaded.thread == view.thread


def test_a_body_that_is_too_large_is_refused_while_it_arrives(site: Site, alice: Visitor) -> None:
    def endless() -> Iterator[bytes]:
        yield from itertools.repeat(b"x" * 65536, 1000)

    declared = alice.http.post("/", content=b"x" * (513 * 1024))
    chunked = _post_endlessly(site, alice, endless())

    assert declared.status_code == 413
    assert chunked == 413
    assert alice.http.get("/healthz").status_code == 200


def test_a_frame_that_is_too_large_ends_its_socket_only(site: Site, alice: Visitor) -> None:
    conversation = alice.start("Hello")
    with alice.open(conversation).until_final() as other, alice.open(conversation) as view:
        with contextlib.suppress(ConnectionClosed):
            view.send("x" * (257 * 1024))
        assert view.until_closed() == 1009

        client_id = other.send("Still there?")
        other.until(lambda page: page.accepted == client_id, "the other socket is served")
        other.until(lambda page: len(page.page.select(".message--assistant")) == 2, "a reply")
        other.until_final()
    assert len(site.turns(conversation)) == 2


def test_a_socket_needs_the_page_of_the_same_site(site: Site, alice: Visitor) -> None:
    conversation = alice.start("Hello")
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    path = f"/ws/conversations/{conversation}/"

    statuses = {
        origin: alice.http.get(path, headers={**handshake, "Origin": origin}).status_code
        for origin in ("https://elsewhere.example", site.url.replace("127.0.0.1", "localhost"))
    }

    assert set(statuses.values()) == {403}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(
            ("-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", "chatsite.asgi:application"),
            id="daphne",
        ),
        pytest.param(("manage.py", "runserver", "127.0.0.1:{port}", "--noreload"), id="runserver"),
    ],
)
def test_django_s_own_ways_to_serve_work_too(command: tuple[str, ...]) -> None:
    with Site(command=command) as site, Visitor(site, ALICE) as alice:
        held = site.upstream.hold()
        with alice.open(alice.start("Hello")) as view:
            held.send("Streams **here**")
            view.until_text("Streams here")
            held.send(" too.")
            held.finish()
            view.until_final()
        assert view.state == "complete"
        style = view.page.select_one("link[rel=stylesheet]")
        assert style
        assert alice.http.get(str(style["href"])).status_code == 200


class Feeder:
    """Sends numbered pieces at a steady rate from a thread of its own, and knows when."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._ended = threading.Event()
        self._sent: list[tuple[float, int]] = []
        self._text = ""
        self._thread = threading.Thread(target=self._feed, daemon=True)
        held.request  # noqa: B018  # waits for it
        self._thread.start()

    def length_at(self, moment: float) -> int:
        """How many characters had been given out at that moment of the monotonic clock."""
        return max((length for at, length in self._sent if at <= moment), default=0)

    def stop(self) -> str:
        """Returns all that was sent."""
        self._ended.set()
        self._thread.join()
        return self._text

    def _feed(self) -> None:
        for number in itertools.count():
            piece = f"number {number} "
            self._text += piece
            self._sent.append((time.monotonic(), len(self._text)))
            self._held.send(piece)
            if self._ended.wait(PIECE_SECONDS):
                return


def _keeps_up(site: Site, conversation: str, feeder: Feeder) -> bool:
    """Whether for a second the log always holds what was sent half a second before.

    On a busy computer not each second is like that; where the log is written too seldom, none is.
    """
    until = time.monotonic() + 1
    while (now := time.monotonic()) < until:
        if len(site.logged(conversation)) < feeder.length_at(now - MOST_BEHIND_SECONDS):
            return False
        time.sleep(PIECE_SECONDS)
    return True


def _long_text(number: int) -> str:
    parts = [
        f"# Answer {number}\n\nA *first* paragraph with `code` and a [link][{number}].\n",
        "| a | b |\n| - | - |\n| 1 | **2** |\n",
        *(f"- item {item} of {number}" for item in range(8)),
        f"\n```python\nnumber = {number}\n\nprint(number)\n```\n",
        "A last paragraph, with a word ~~taken back~~.\n",
        f"[{number}]: https://example.org/{number}\n",
    ]
    return "\n".join(parts)


def _long_answer(request: Received) -> Answer:
    number = int(request.messages[-1]["content"].removeprefix("Answer "))
    return Answer(_long_text(number), chunk=5, rate=30)


def _follow_restlessly(visitor: Visitor, conversation: str, seed: int) -> View:
    """Read until the answer's end, now and then over a new connection or a new page."""
    chance = random.Random(seed)
    view = visitor.open(conversation)
    while view.state not in ("complete", "failed", "interrupted"):
        for _ in range(chance.randint(1, 12)):
            if view.state == "complete":
                break
            with contextlib.suppress(TimeoutError):
                view.receive(5)
        if chance.random() < 0.3:
            view.close()
            view = visitor.open(conversation)
        else:
            view.reconnect()
    view.reconnect()
    view.receive(WAIT_SECONDS)
    view.close()
    return view


def _post_endlessly(site: Site, visitor: Visitor, body: Iterator[bytes]) -> int:
    """POST in chunks on a bare socket, reading the answer while sending; returns its status."""
    with socket.create_connection(("127.0.0.1", site.server.port), timeout=HTTP_SECONDS) as raw:
        head = (
            f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{site.server.port}\r\n"
            f"Cookie: {visitor.cookie_header}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
        )
        raw.sendall(head.encode())
        sent = 0
        with contextlib.suppress(ConnectionError):
            for piece in body:
                raw.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
                sent += len(piece)
        answer = raw.recv(200)
    assert sent < 30 * 2**20, "it was read to the end"
    return int(answer.split()[1])
