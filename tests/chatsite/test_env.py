"""Settings out of the environment: what is taken, and what is refused by name."""

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from chatsite import env


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("THING", raising=False)
    monkeypatch.delenv("THING_FILE", raising=False)
    return "THING"


def refusal(read: object, *arguments: object, **how: object) -> str:
    with pytest.raises(ImproperlyConfigured) as caught:
        read(*arguments, **how)  # type: ignore[operator]
    return str(caught.value)


def test_a_missing_variable_is_its_default(setting: str) -> None:
    assert env.env_str(setting) == ""
    assert env.env_str(setting, "x") == "x"
    assert env.env_bool(setting, True) is True
    assert env.env_bool(setting, False) is False
    assert env.env_number(setting, 2.5) == 2.5
    assert env.env_list(setting, "a, b") == ["a", "b"]
    assert env.env_choice(setting, "a", ("a", "b")) == "a"
    assert env.env_url(setting) == ""


def test_space_around_a_value_is_dropped(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting, "  value \n")
    assert env.env_str(setting) == "value"


def test_a_value_can_come_from_a_file(
    setting: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("from the file\n")
    monkeypatch.setenv("THING_FILE", str(file))
    assert env.env_str(setting) == "from the file"
    monkeypatch.setenv(setting, "and from the environment")
    assert "THING and THING_FILE are both set" in refusal(env.env_str, setting)


def test_a_file_that_cannot_be_read_is_named(
    setting: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("THING_FILE", str(tmp_path / "missing"))
    assert "missing cannot be read" in refusal(env.env_str, setting)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    monkeypatch.setenv("THING_FILE", str(tmp_path / "binary"))
    assert "binary cannot be read" in refusal(env.env_str, setting)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *((word, True) for word in ("1", "TRUE", " yes ", "on")),
        *((word, False) for word in ("0", "No", "off", "false", "")),
    ],
)
def test_switches(setting: str, monkeypatch: pytest.MonkeyPatch, word: str, value: bool) -> None:
    monkeypatch.setenv(setting, word)
    assert env.env_bool(setting, not value) is value


def test_a_word_that_is_no_switch_is_refused(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting, "maybe")
    assert refusal(env.env_bool, setting, True) == "THING='maybe': use 1 or 0."


@pytest.mark.parametrize("word", ["x", "-1", "0.5", "nan", "inf", "1e999", "1,5"])
def test_numbers_that_are_none_or_too_small_are_refused(
    setting: str, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv(setting, "1.5")
    assert env.env_number(setting, 9, least=1) == 1.5
    monkeypatch.setenv(setting, word)
    assert "use a number of at least 1" in refusal(env.env_number, setting, 9, least=1)


def test_lists_drop_what_is_empty(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting, " a,,b ,")
    assert env.env_list(setting) == ["a", "b"]


def test_a_choice_is_one_of_the_choices(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting, "b")
    assert env.env_choice(setting, "a", ("a", "b")) == "b"
    monkeypatch.setenv(setting, "c")
    assert refusal(env.env_choice, setting, "a", ("a", "b")) == "THING='c': use one of a, b."


@pytest.mark.parametrize(
    "address", ["https://example.org", "http://127.0.0.1:1234/v1", "https://[::1]:8443/api/a-b/ai"]
)
def test_addresses(setting: str, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(setting, f"{address}/")
    assert env.env_url(setting) == address


@pytest.mark.parametrize(
    "address",
    [
        *("example.org", "ftp://example.org", "https://", "http://[::1"),
        *("https://host:x", "https://host:99999", "https://host:0"),
    ],
)
def test_addresses_that_are_none_are_refused(
    setting: str, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv(setting, address)
    assert "use an address like https://example.org" in refusal(env.env_url, setting)


def test_the_data_directory_is_made_for_its_owner_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "a" / "b"))
    made = env.data_directory(tmp_path / "default")
    assert made == tmp_path / "a" / "b"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    monkeypatch.delenv("DATA_DIR")
    assert env.data_directory(tmp_path / "default") == tmp_path / "default"


def test_a_data_directory_that_cannot_be_made_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "file" / "below"))
    words = refusal(env.data_directory, tmp_path)
    assert str(tmp_path / "file" / "below") in words
    assert "Set DATA_DIR" in words


def test_the_secret_is_made_once_and_kept_to_its_owner(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    secret = env.secret_key(tmp_path)
    assert len(secret) >= 50
    assert env.secret_key(tmp_path) == secret
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["secret_key"]
    monkeypatch.setenv("SECRET_KEY", "given")
    assert env.secret_key(tmp_path) == "given"


def test_starts_at_the_same_moment_agree_on_one_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    together = threading.Barrier(8)

    def start(_number: int) -> str:
        together.wait(60)
        return env.secret_key(tmp_path)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(8)))) == 1
    assert os.listdir(tmp_path) == ["secret_key"]


def test_a_secret_that_cannot_be_kept_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    (tmp_path / "secret_key").mkdir()
    words = refusal(env.secret_key, tmp_path)
    assert "secret_key cannot be read or written" in words
    assert "set SECRET_KEY" in words
