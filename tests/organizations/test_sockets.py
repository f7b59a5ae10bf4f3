"""Which handshakes come from our own pages, and whose they are."""

from typing import Any

import pytest
from django.test import Client

from organizations.sockets import is_same_origin, read_user
from tests.conftest import Cast


def origin(
    value: str | None, host: str = "example.org", scheme: str = "ws", forwarded: str = ""
) -> bool:
    headers = [(b"host", host.encode())]
    if value is not None:
        headers.append((b"origin", value.encode()))
    if forwarded:
        headers.append((b"x-forwarded-proto", forwarded.encode()))
    return is_same_origin({"headers": headers, "scheme": scheme})


@pytest.mark.parametrize(
    ("value", "host", "scheme"),
    [
        ("http://example.org", "example.org", "ws"),
        ("http://example.org:80", "example.org", "ws"),
        ("http://example.org", "example.org:80", "ws"),
        ("https://example.org", "example.org", "wss"),
        ("https://example.org", "example.org:443", "wss"),
        ("http://EXAMPLE.org", "example.ORG", "ws"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "ws"),
        ("http://[::1]:8000", "[::1]:8000", "ws"),
    ],
)
def test_ones_own_pages(value: str, host: str, scheme: str) -> None:
    assert origin(value, host, scheme)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "null",
        "http://evil.example",
        "http://example.org.evil.example",
        "http://sub.example.org",
        "https://example.org",
        "http://example.org:8080",
        "http://example.org:99999",
        "http://example.org:x",
        "http://user@example.org",
        "http://user:word@example.org",
        "http://evil.example@example.org",
        "http://example.org/path",
        "http://example.org?x",
        "http://[example.org",
        "ftp://example.org",
        "file://",
        "example.org",
        "//example.org",
        "http://",
        "http://\xe9xample.org",
    ],
)
def test_everything_else_is_foreign(value: str | None) -> None:
    assert origin("http://example.org")
    assert not origin(value)


def test_an_insecure_page_cannot_open_a_secure_socket() -> None:
    assert origin("https://example.org", scheme="wss")
    assert not origin("http://example.org", scheme="wss")


def test_a_trusted_origin_is_let_in_exactly(settings: Any) -> None:
    assert not origin("https://chat.example.org", host="inside:8000")
    settings.CSRF_TRUSTED_ORIGINS = ["https://chat.example.org"]
    assert origin("https://chat.example.org", host="inside:8000")
    assert not origin("http://chat.example.org", host="inside:8000")
    assert not origin("https://chat.example.org.evil.example", host="inside:8000")


def test_the_scheme_is_the_servers_word_and_not_a_header_anybody_may_send() -> None:
    assert not origin("https://example.org", forwarded="https")
    assert origin("http://example.org", forwarded="https")
    assert origin("https://example.org", scheme="wss")  # a trusted proxy said so


def test_missing_headers_are_foreign() -> None:
    assert not is_same_origin({})
    assert not is_same_origin({"headers": [(b"origin", b"http://example.org")]})


@pytest.mark.django_db
def test_the_person_of_a_session_is_read_anew_each_time(cast: Cast, settings: Any) -> None:
    client = Client()
    assert not read_user(client.session).is_authenticated
    client.force_login(cast.alice)
    session = client.session
    assert read_user(session) == cast.alice
    # A key that was rotated ends no session.
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next one"
    assert read_user(session) == cast.alice
    settings.SECRET_KEY_FALLBACKS = []
    assert not read_user(session).is_authenticated


@pytest.mark.django_db
def test_an_ended_session_and_a_changed_password_are_nobodys(cast: Cast) -> None:
    for end in (lambda client: client.logout(), lambda client: change_password(cast)):
        client = Client()
        client.force_login(cast.alice)
        session = client.session
        assert read_user(session) == cast.alice
        end(client)
        assert not read_user(session).is_authenticated


def change_password(cast: Cast) -> None:
    cast.alice.set_password("another one")
    cast.alice.save()
