"""Let a websocket in: same origin only, and as the person who is signed in."""

from importlib import import_module
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from organizations.models import User

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
POLICY_VIOLATION = 1008


class SameOrigin:
    """Refuse handshakes from other sites: a socket has no CSRF token, its origin protects it.

    Channels' own validator ignores scheme and port, so that any program that listens on another
    port of the same host could open a socket with the person's cookie.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if not is_same_origin(scope):
            await receive()
            return await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return await self.application(scope, receive, send)


def is_same_origin(scope: dict[str, Any]) -> bool:
    """Whether Origin is the handshake's own scheme, host and port, or a trusted one."""
    headers: dict[bytes, bytes] = dict(scope.get("headers", []))
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    secure = scope.get("scheme") == "wss"  # behind a trusted proxy the server sets it
    own = f"{'https' if secure else 'http'}://{headers.get(b'host', b'').decode('latin-1')}"
    try:
        return _endpoint(origin) == _endpoint(own)
    except ValueError:
        return False


def _endpoint(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError(url)
    if parts.path not in ("", "/") or parts.query:
        raise ValueError(url)
    return parts.scheme, parts.hostname.lower(), parts.port or DEFAULT_PORTS[parts.scheme]


def read_user(session: Any) -> User | AnonymousUser:
    """The person to whom the scope's session belongs now. Call in a database thread.

    `channels.auth` is not used: it ignores SECRET_KEY_FALLBACKS and flushes the session when the
    key was rotated. The scope's own store keeps what it has once read, so that a session that was
    ended since would still look valid: a new one is made each time.
    """
    key = session.session_key
    if not key:
        return AnonymousUser()
    store = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return get_user(cast("HttpRequest", SimpleNamespace(session=store)))
