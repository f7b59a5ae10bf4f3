"""Read settings from the environment; a wrong value fails by name, with the remedy."""

import os
import secrets
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}


def env_str(name: str, default: str = "") -> str:
    """The variable's value, or the content of the file that NAME_FILE names (Docker secrets).

    Raises ImproperlyConfigured where both are set or the file cannot be read.
    """
    file = os.environ.get(f"{name}_FILE", "")
    if not file:
        return os.environ.get(name, default).strip()
    if os.environ.get(name):
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set: keep one of them.")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}_FILE: {file} cannot be read ({error}).") from error


def env_bool(name: str, default: bool) -> bool:
    """A switch: 1/true/yes/on or 0/false/no/off."""
    value = os.environ.get(name)
    if value is None:
        return default
    word = value.strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise ImproperlyConfigured(f"{name}={value!r}: use 1 or 0.")


def env_number(name: str, default: float, *, least: float = 0) -> float:
    """A number of at least `least`."""
    value = env_str(name)
    if not value:
        return default
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not least <= number < float("inf"):
        raise ImproperlyConfigured(f"{name}={value!r}: use a number of at least {least:g}.")
    return number


def env_list(name: str, default: str = "") -> list[str]:
    """Comma-separated words; empty ones are dropped."""
    return [word.strip() for word in env_str(name, default).split(",") if word.strip()]


def env_choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    """One of `choices`."""
    value = env_str(name, default) or default
    if value not in choices:
        raise ImproperlyConfigured(f"{name}={value!r}: use one of {', '.join(choices)}.")
    return value


def env_url(name: str) -> str:
    """An http or https address without a trailing slash, or ""."""
    value = env_str(name).rstrip("/")
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ImproperlyConfigured(f"{name}={value!r}: use an address like https://example.org.")
    return value


def data_directory(default: Path) -> Path:
    """The directory for the database, the secret and collected assets; made where it is missing."""
    path = Path(env_str("DATA_DIR") or default).expanduser().resolve()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"The data directory {path} cannot be made ({error.strerror}). "
            "Set DATA_DIR to a directory that you may write."
        ) from error
    return path


def secret_key(directory: Path) -> str:
    """SECRET_KEY, or the one made at the first start and kept in the data directory (mode 0600)."""
    key = env_str("SECRET_KEY")
    if key:
        return key
    path = directory / "secret_key"
    try:
        if not path.exists():
            _create_once(path, secrets.token_urlsafe(50))
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(
            f"The secret in {path} cannot be read or written ({error}). "
            "Make the data directory writable, or set SECRET_KEY."
        ) from error


def _create_once(path: Path, content: str) -> None:
    """Two processes that start together must agree on one secret: the link's creation is atomic."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".secret-")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)
        except FileExistsError:
            return
    finally:
        os.unlink(name)
