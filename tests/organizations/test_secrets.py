"""Providers' keys: encrypted at rest, rotated with the site's key, and nowhere to be read."""

import io
import logging
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from organizations import secrets
from organizations.models import Provider
from tests.conftest import Cast

pytestmark = pytest.mark.django_db

KEY = "sk-only-the-provider-may-see-9Q2w"


def provider(cast: Cast, name: str = "Gateway", key: str = KEY) -> Provider:
    made = Provider(
        organization=cast.organization, name=name, base_url="https://models.example.org/v1"
    )
    made.set_key(key)
    made.save()
    return made


def stored(made: Provider) -> Provider:
    return Provider.objects.get(pk=made.pk)


@pytest.mark.parametrize("text", ["", KEY, "ключ", "x" * 4000])
def test_what_is_encrypted_comes_back_and_is_different_each_time(text: str) -> None:
    first, second = secrets.encrypt(text), secrets.encrypt(text)
    assert first != second
    assert secrets.decrypt(first) == secrets.decrypt(second) == text
    assert not text or text not in first


@pytest.mark.parametrize(
    "garbled", [pytest.param(lambda text: text[:-6], id="cut"), pytest.param(str.lower, id="other")]
)
def test_what_was_changed_in_the_database_is_not_believed(garbled: Any) -> None:
    with pytest.raises(secrets.SecretLost):
        secrets.decrypt(garbled(secrets.encrypt(KEY)))


def test_a_key_is_stored_encrypted_and_shown_by_its_end(cast: Cast) -> None:
    made = stored(provider(cast))
    assert KEY not in made.encrypted_key
    assert (made.key(), made.key_last_four, made.has_key) == (KEY, "9Q2w", True)
    made.set_key("")
    assert (made.key(), made.key_last_four, made.has_key) == ("", "", False)


@pytest.mark.parametrize(("key", "shown"), [("12345678901", ""), ("123456789012", "9012")])
def test_of_a_short_key_nothing_is_shown(cast: Cast, key: str, shown: str) -> None:
    assert provider(cast, key=key).key_last_four == shown


def test_a_key_is_in_no_text_about_its_provider(cast: Cast, caplog: Any) -> None:
    made = provider(cast)
    logging.getLogger("organizations").warning("%s %r %s", made, made, vars(made))
    assert "Gateway" in caplog.text
    assert KEY not in caplog.text
    # The test itself would see it.
    logging.getLogger("organizations").warning("%s", made.key())
    assert KEY in caplog.text


def rotate() -> str:
    printed = io.StringIO()
    call_command("rotate_provider_keys", stdout=printed)
    return printed.getvalue()


def test_the_sites_key_is_rotated_and_the_old_one_can_go(cast: Cast, settings: Any) -> None:
    keys = [KEY, "another-key-9876", ""]
    made = [provider(cast, key or "None", key) for key in keys]
    old = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new one", [old]
    assert stored(made[0]).key() == KEY, "readable before the command has run"

    assert rotate() == "2 keys encrypted anew.\n"
    settings.SECRET_KEY_FALLBACKS = []
    assert [stored(each).key() for each in made] == keys
    settings.SECRET_KEY = old
    with pytest.raises(secrets.SecretLost):
        stored(made[0]).key()


def test_a_lost_key_is_named_and_the_others_are_rotated(cast: Cast, settings: Any) -> None:
    lost = provider(cast, "Lost")
    before = lost.encrypted_key
    settings.SECRET_KEY = "the site's second"
    kept = provider(cast, "Kept")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "its third", ["the site's second"]

    with pytest.raises(CommandError, match=r"Lost \(") as raised:
        rotate()
    assert "Kept" not in str(raised.value)
    settings.SECRET_KEY_FALLBACKS = []
    assert stored(kept).key() == KEY
    assert stored(lost).encrypted_key == before
