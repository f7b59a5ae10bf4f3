"""How the client's bytes travel: aiohttp under httpx's interface, to checked addresses only."""

import functools
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp import AiohttpTransport

from completions.addresses import forbidden, is_allowed, resolve
from completions.endpoint import Endpoint

HEADER_BYTES = 64 << 10
# aiohttp's way of saying that an address needs no further look-up.
NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


def make_transport(endpoint: Endpoint) -> httpx.AsyncBaseTransport:
    """Return aiohttp's transport under httpx's interface.

    Reading an answer with it costs half the CPU of doing so with httpx's own, which is most of
    what the whole takes: 80 against 161 ms per 1,000 deltas (bench/read_upstream.py).

    It connects only to addresses that completions.addresses allows for this endpoint, and raises
    AddressForbidden for others. A connection that is used again was checked when it was made.
    """

    def make_session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                # No limits here: who asks, and how often, is decided where turns are started.
                limit=0,
                ssl=_tls(),
                force_close=endpoint.close_connections,
                resolver=_CheckedResolver(endpoint.allow_private),
                socket_factory=_checked_sockets(endpoint.allow_private),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Gateways send long headers (policies, cookies); aiohttp stops at 8 KB.
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    return _Transport(client=make_session, verify=_tls(), trust_env=False)


class _CheckedResolver(AbstractResolver):
    """Resolves a name once, checks all that it stands for, and hands out just that."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await resolve(host, port, allow_private=self._allow_private, family=family)
        return [
            ResolveResult(
                hostname=host,
                host=each.address,
                port=port,
                family=each.family,
                proto=0,
                flags=NUMERIC,
            )
            for each in found
        ]

    async def close(self) -> None:
        pass


def _checked_sockets(allow_private: bool) -> Callable[[tuple[Any, ...]], socket.socket]:
    """Return what makes the sockets: the last check, of the very address to be connected to.

    aiohttp does not ask the resolver about an address in numbers.
    """

    def make(place: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = place
        if not is_allowed(address[0], allow_private=allow_private):
            raise forbidden()
        return socket.socket(family, kind, protocol)

    return make


class _Transport(AiohttpTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        response.stream = _Body(response.stream)
        return response


class _Body(httpx.AsyncByteStream):
    """A body that is whole up to where it broke.

    Once a connection breaks, aiohttp's reader raises before it hands out what it has received.
    If nobody was reading just then, the last text, an error's words or [DONE] would be lost.
    """

    def __init__(self, body: Any) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._body:
                yield piece
        except httpx.HTTPError:
            # Not public, hence the defaults: without them only the rescue would fail.
            content = getattr(getattr(self._body, "_aiohttp_response", None), "content", None)
            rest = b"".join(getattr(content, "_buffer", ()))
            yield rest[getattr(content, "_buffer_offset", 0) :]
            raise

    async def aclose(self) -> None:
        await self._body.aclose()


@functools.cache
def _tls() -> ssl.SSLContext:
    """Trust certifi's authorities and, for a provider inside a company, the system's as well."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
