"""A person without a browser: signs in by the form, opens pages, follows them over the socket.

A `View` keeps the page as the browser would have it: pushed fragments are put into the document
as htmx puts them, so that what a test compares is what a reader sees.
"""

import json
import re
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

import httpx
from bs4 import BeautifulSoup
from bs4.element import Tag
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.sites import PASSWORD, WAIT_SECONDS, Site

FINAL = ("complete", "stopped", "failed", "interrupted")
# A page on a busy computer; nothing here should ever take so long.
HTTP_SECONDS = 60.0


def normal(html: str) -> str:
    """HTML as a parser understands it, for comparing."""
    return BeautifulSoup(html, "html.parser").decode()


class Visitor:
    """One person's cookies."""

    def __init__(self, site: Site, email: str, *, cookies: httpx.Cookies | None = None) -> None:
        self.site = site
        self.http = httpx.Client(
            base_url=site.url,
            cookies=cookies,
            follow_redirects=True,
            trust_env=False,
            timeout=HTTP_SECONDS,
        )
        if cookies is None:
            page = self.get("/sign-in/")
            fields = {"username": email, "password": PASSWORD, **_hidden(page)}
            self.http.post("/sign-in/", data=fields).raise_for_status()
            assert "sessionid" in self.http.cookies, "not signed in"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    @property
    def cookie_header(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.http.cookies.jar)

    def get(self, path: str) -> BeautifulSoup:
        response = self.http.get(path)
        response.raise_for_status()
        return BeautifulSoup(response.text, "html.parser")

    def post(self, path: str, **fields: str) -> httpx.Response:
        """Post a form of the start page, whose token is good for every form."""
        token = _hidden(self.get("/"))["csrfmiddlewaretoken"]
        return self.http.post(path, data={"csrfmiddlewaretoken": token, **fields})

    def start(self, text: str, **parameters: str) -> str:
        """Send a first message from the start page; returns the conversation's id."""
        fields = _hidden(self.get("/")) | {"text": text, **parameters}
        response = self.http.post("/", data=fields)
        response.raise_for_status()
        found = re.search(r"/c/([0-9a-f-]{36})/$", str(response.url))
        assert found, response.url
        return found[1]

    def open(self, conversation_id: str) -> "View":
        """The conversation's page, with its socket."""
        return View(self, conversation_id)


class View:
    """A conversation's page in front of somebody."""

    def __init__(self, visitor: Visitor, conversation_id: str) -> None:
        self.visitor = visitor
        self.conversation_id = conversation_id
        self.page = visitor.get(f"/c/{conversation_id}/")
        self.frames: list[str] = []
        main = self.page.find(id="main")
        assert isinstance(main, Tag)
        self._path = str(main["ws-connect"])
        self._open = ExitStack()
        self._connect(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._open.close()

    def reconnect(self) -> None:
        """As connection.js does it: what the first page had seen does not count any more."""
        self.close()
        self._connect(self._path.partition("?")[0])

    def send(self, text: str, client_id: str | None = None) -> str:
        """Send the composer's frame; returns the form's id."""
        client_id = client_id or str(uuid.uuid4())
        frame = {"text": text, "client_id": client_id, "HEADERS": {"HX-Request": "true"}}
        self.socket.send(json.dumps(frame))
        return client_id

    def until(self, condition: Callable[["View"], object], what: str) -> Self:
        """Take in pushes until the page is as wanted."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition(self):
            try:
                self.receive(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise AssertionError(f"not seen: {what}; the page has {self.thread}") from None
        return self

    def until_final(self) -> Self:
        return self.until(lambda view: view.state in FINAL, "the end of the answer")

    def until_text(self, text: str) -> Self:
        return self.until(lambda view: text in view.text, f"the text {text!r}")

    def until_closed(self) -> int:
        """Read to the end of the socket; returns its close code."""
        deadline = time.monotonic() + WAIT_SECONDS
        try:
            while True:
                self.receive(max(0.0, deadline - time.monotonic()))
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    def receive(self, seconds: float) -> None:
        """Take in one push. Raises TimeoutError, or ConnectionClosed."""
        frame = str(self.socket.recv(timeout=seconds))
        self.frames.append(frame)
        pushed = BeautifulSoup(frame, "html.parser")
        for element in [child for child in pushed.children if isinstance(child, Tag)]:
            self._swap(element)

    @property
    def answer(self) -> Tag:
        """The last answer's element."""
        return self._all("article.message--assistant")[-1]

    @property
    def state(self) -> str:
        return str(self.answer["data-state"])

    @property
    def body(self) -> str:
        """The last answer's HTML; where it is being written, without the zones' elements."""
        body = self.answer.select_one(".body")
        if body is None:
            return ""
        zones = body.select(":scope > .zone")
        return "".join(zone.decode_contents() for zone in zones) or body.decode_contents()

    @property
    def text(self) -> str:
        return BeautifulSoup(self.body, "html.parser").get_text()

    @property
    def thread(self) -> str:
        found = self.page.find(id="thread")
        assert isinstance(found, Tag)
        return re.sub(r"\s+", " ", found.decode_contents()).replace("> <", "><").strip()

    @property
    def notice(self) -> str:
        found = self.page.find(id="notice")
        return found.get_text(" ", strip=True) if found else ""

    @property
    def accepted(self) -> str:
        found = self.page.find(id="composer-ack")
        assert isinstance(found, Tag)
        return str(found.get("data-accepted", ""))

    def _all(self, selector: str) -> list[Tag]:
        return list(self.page.select(selector))

    def _connect(self, path: str) -> None:
        connection = connect(
            f"ws{self.visitor.site.url.removeprefix('http')}{path}",
            origin=Origin(self.visitor.site.url),
            additional_headers={"Cookie": self.visitor.cookie_header},
            max_size=None,
            open_timeout=HTTP_SECONDS,
            proxy=None,
        )
        self.socket: ClientConnection = self._open.enter_context(connection)

    def _swap(self, element: Tag) -> None:
        how, _, selector = str(element.get("hx-swap-oob") or "").partition(":")
        target: Any = self.page.find(id=selector.removeprefix("#") if selector else element["id"])
        if target is None:
            return  # as htmx: there is no place for it on this page
        if how == "innerHTML":
            target.clear()
        if how in ("innerHTML", "beforeend"):
            for child in list(element.children):
                target.append(child.extract())
        else:
            target.replace_with(element.extract())


def _hidden(page: BeautifulSoup) -> dict[str, str]:
    """The hidden fields of the page's form: the token, and on the start page the form's id."""
    form = page.select_one("form#composer") or page.select_one("form[method=post]")
    assert form
    return {
        str(field["name"]): str(field.get("value", ""))
        for field in form.select("input[type=hidden][name]")
    }
