"""A site for tests of the whole: the real server, a provider to script, and its people.

The first site of a run makes the database once; the others start from a copy of it.
"""

import functools
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.server import Server
from tests.upstream import Answer, Held, Received, Upstream

MODELS = ("test-model", "other-model")
ALICE, BOB, MALLORY = "alice@example.org", "bob@example.org", "mallory@example.org"
PASSWORD = "correct horse battery"
ASKS_FOR_TITLE = "Write a title"  # how conversations/titles.py begins
WAIT_SECONDS = 60.0  # on a busy computer; nothing here takes a few seconds

# Alice is the admin that `manage.py setup` makes; Bob is in her organization, Mallory is not.
_PEOPLE = f"""
from django.core.management import call_command
from organizations.models import Membership, Organization, Role, User
call_command("setup", email={ALICE!r}, name="Alice", organization="Example Org",
             password_stdin=True)
example, elsewhere = Organization.objects.get(), Organization.objects.create(name="Elsewhere")
for email, organization in (({BOB!r}, example), ({MALLORY!r}, elsewhere)):
    user = User.objects.create_user(email, {PASSWORD!r}, name=email.partition("@")[0].capitalize())
    Membership.objects.create(user=user, organization=organization, role=Role.MEMBER)
"""


class Provider(Upstream):
    """An upstream that answers requests for titles apart, so that they take no scripted answer."""

    def __init__(self) -> None:
        super().__init__(models=MODELS)
        self.title = Answer("A fitting title")
        self.title_requests: list[Received] = []
        self._holds: list[Held] = []

    def accept(self, received: Received) -> Answer | Held:
        if str(received.messages[0].get("content")).startswith(ASKS_FOR_TITLE):
            self.title_requests.append(received)
            return self.title
        return super().accept(received)

    def hold(self, **how: Any) -> Held:
        self._holds.append(super().hold(**how))
        return self._holds[-1]

    def reset(self) -> None:
        """Forget scripts and requests; answers that were never brought to an end break off."""
        super().reset()
        for held in self._holds:
            held.drop()
        self._holds.clear()


class Site:
    """One server with its own data directory and provider; `with Site() as site`."""

    def __init__(
        self, environment: Mapping[str, str] | None = None, command: tuple[str, ...] | None = None
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="chatsite-site-")
        self.data = Path(self._directory.name) / "data"
        self.upstream = Provider()
        self.environment = dict(environment or {})
        self.command = command
        self.server: Server = Server(self.data)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()  # a server that is only slow would stay
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _start(self) -> None:
        shutil.copytree(_first_data(), self.data, ignore=shutil.ignore_patterns("static", "*.log"))
        self.upstream.start()
        self.server.environment = {
            "COMPLETIONS_URL": self.upstream.url,
            "COMPLETIONS_API_KEY": "provider-key",
            "COMPLETIONS_MODELS": ",".join(MODELS),
            "STATIC_ROOT": str(_first_data() / "static"),
            **self.environment,
        }
        if self.command:
            self.server.command = self.command
        self.server.start()

    def _end(self) -> None:
        self.server.stop()
        self.upstream.close()
        self._directory.cleanup()

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def running(self) -> bool:
        return self.server.running

    def reset(self) -> None:
        """For the next test: running, nothing scripted, and nothing of the last one under way."""
        self.upstream.reset()
        if not self.running:
            self.server.start()
        # Asked for so late, an answer would take what the next test has scripted.
        unfinished = "SELECT 1 FROM conversations_turn WHERE state IN ('queued', 'streaming')"
        wait_until(lambda: not self.rows(unfinished), "the end of the last test's answers")
        self.upstream.reset()

    @property
    def api_url(self) -> str:
        """The served endpoint of the Example Org: what a client of OpenAI's is given."""
        query = "SELECT id FROM organizations_organization WHERE name = 'Example Org'"
        [organization] = self.rows(query)
        return f"{self.url}/api/organizations/{organization['id']}/ai"

    def make_token(self) -> str:
        """A token of Alice's for the Example Org."""
        words = ("--email", ALICE, "--organization", "Example Org", "--name", "Tests")
        return self.server.manage("create_token", *words).splitlines()[-1]

    def rows(self, query: str, *arguments: Any) -> list[Any]:
        """Read the database beside the server."""
        path = self.data / "chatsite.sqlite3"
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=WAIT_SECONDS)
        connection.row_factory = sqlite3.Row
        try:
            return connection.execute(query, arguments).fetchall()
        finally:
            connection.close()

    def turns(self, conversation_id: str) -> list[Any]:
        query = "SELECT * FROM conversations_turn WHERE conversation_id = ? ORDER BY id"
        return self.rows(query, conversation_id.replace("-", ""))

    def answers(self, conversation_id: str) -> list[Any]:
        """The assistant's messages, as stored."""
        query = (
            "SELECT * FROM conversations_message "
            "WHERE conversation_id = ? AND role = 'assistant' ORDER BY id"
        )
        return self.rows(query, conversation_id.replace("-", ""))

    def logged(self, conversation_id: str) -> str:
        """What the log holds of the running answer's text."""
        query = (
            "SELECT l.text FROM conversations_logentry l "
            "JOIN conversations_message m ON m.id = l.message_id "
            "WHERE m.conversation_id = ? AND NOT l.is_reasoning ORDER BY l.message_id, l.offset"
        )
        return "".join(row["text"] for row in self.rows(query, conversation_id.replace("-", "")))


def wait_until(condition: Callable[[], object], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Look again and again until the condition holds; for what tells nobody when it happens."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


@functools.cache
def _first_directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="chatsite-first-")


@functools.cache
def _first_data() -> Path:
    """A data directory as `manage.py up` makes it, with the people in it."""
    data = Path(_first_directory().name) / "data"
    data.mkdir(mode=0o700)
    first = Server(data)
    first.start()
    assert first.terminate() == 0
    first.manage("shell", "--no-imports", "-v0", "-c", _PEOPLE, stdin=f"{PASSWORD}\n")
    return data
