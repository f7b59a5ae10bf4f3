"""Which addresses may be connected to, and that a connection goes to a checked one or nowhere."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.addresses import check_address, is_allowed, is_public
from completions.client import CompletionClient
from completions.endpoint import Endpoint
from completions.errors import AddressForbidden, ProviderMisconfigured, ProviderUnreachable
from completions.types import ChatMessage, CompletionRequest, Limits
from tests.upstream import Answer, Upstream

REQUEST = CompletionRequest("m", (ChatMessage("user", "Hello"),))
QUICK = Limits(connect=2, first_token=5, stall=5, total=10, retries=0)
PUBLIC = "93.184.215.14"

NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%lo",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "239.255.255.250",
    "ff02::1",
    "255.255.255.255",
    "::ffff:169.254.169.254",
    "::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1:a9fe:a9:fe00::",
    "2001:0:4136:e378:8000:63bf:5601:5601",  # Teredo of 169.254.169.254
    "2001:0:a9fe:a9fe::1",
    "example.org",
    "127.1",
    "",
]
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "192.0.0.8",
    "192.88.99.1",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.1",
    "240.0.0.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "2001:db8::1",
    "2001:20::1",
    "3fff::1",
    "100::1",
    "5f00::1",
    "4000::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::7f00:1",
    "::808:808",
    "2002:7f00:1::1",
    "2002:c0a8:101::1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::808:808",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo of 127.0.0.1
    "2001:0:a00:1:8000:63bf:f7f7:f7f7",
]
GLOBAL = [
    PUBLIC,
    "8.8.8.8",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]


@pytest.mark.parametrize(
    ("address", "allowed", "allowed_with_private"),
    [
        *((address, False, False) for address in NEVER),
        *((address, False, True) for address in PRIVATE),
        *((address, True, True) for address in GLOBAL),
    ],
)
def test_each_range(address: str, allowed: bool, allowed_with_private: bool) -> None:
    assert is_allowed(address, allow_private=False) is allowed
    assert is_allowed(address, allow_private=True) is allowed_with_private


@given(st.ip_addresses(v=4))
def test_an_address_in_disguise_is_judged_as_itself(inner: IPv4Address) -> None:
    for prefix in ("::ffff:0:0", "64:ff9b::", "2002::"):
        shift = 80 if prefix == "2002::" else 0
        outer = IPv6Address(int(IPv6Address(prefix)) | int(inner) << shift)
        allowed = is_allowed(str(inner), allow_private=False)
        assert is_allowed(str(outer), allow_private=False) <= allowed


@given(st.ip_addresses())
def test_what_is_public_is_also_allowed_beside_private(address: IPv4Address | IPv6Address) -> None:
    if is_allowed(str(address), allow_private=False):
        assert is_allowed(str(address), allow_private=True)
        assert not address.is_loopback


Names = dict[str, list[list[str]]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """What each name stands for, one list an asking; others resolve as ever."""
    answers: Names = {}
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        queue = answers.get(str(host))
        if queue is None:
            return real(host, port, *args, **more)
        found = queue.pop(0) if len(queue) > 1 else queue[0]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [
            (
                socket.AF_INET6 if ":" in each else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (each, port, 0, 0) if ":" in each else (each, port),
            )
            for each in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return answers


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


Make = Callable[..., CompletionClient]


@pytest.fixture
async def make_client() -> AsyncIterator[Make]:
    clients = []

    def make(url: str, allow_private: bool = False) -> CompletionClient:
        endpoint = Endpoint(url, "", "none", allow_private=allow_private)
        clients.append(CompletionClient(endpoint, QUICK))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


async def ask(client: CompletionClient) -> str:
    return "".join([d.text async for chunk in client.stream(REQUEST) for d in chunk.deltas])


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "0x7f.1",
        "0x7f000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "[::]",
    ],
)
async def test_no_spelling_of_loopback_gets_through(
    upstream: Upstream, make_client: Make, host: str
) -> None:
    with pytest.raises(AddressForbidden):
        await ask(make_client(f"http://{host}:{upstream.port}/v1"))
    with pytest.raises(AddressForbidden):
        await make_client(f"http://{host}:{upstream.port}/v1").list_models()
    assert upstream.connections_made == 0
    assert await is_public(f"http://{host}:{upstream.port}/v1") is False


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "localhost.",
        "１２７.0.0.1",
    ],
)
async def test_spellings_that_only_some_libraries_understand_get_nowhere_either(
    upstream: Upstream, make_client: Make, host: str
) -> None:
    with pytest.raises((AddressForbidden, ProviderUnreachable)):
        await ask(make_client(f"http://{host}:{upstream.port}/v1"))
    assert upstream.connections_made == 0
    assert await is_public(f"http://{host}:{upstream.port}/v1") is False


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "one.test"])
async def test_a_private_address_that_is_allowed_is_asked(
    upstream: Upstream, make_client: Make, names: Names, host: str
) -> None:
    names["one.test"] = [["127.0.0.1"]]
    upstream.default = Answer(text="Hello")
    client = make_client(f"http://{host}:{upstream.port}/v1", allow_private=True)
    assert await ask(client) == "Hello"


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "0.0.0.0"])
async def test_the_clouds_credentials_are_out_of_reach_in_any_case(
    make_client: Make, host: str
) -> None:
    with pytest.raises(AddressForbidden):
        await ask(make_client(f"http://{host}/v1", allow_private=True))


@pytest.mark.parametrize(
    "addresses", [["10.0.0.7"], [PUBLIC, "10.0.0.7"], ["2606:4700::1", "::1"], ["fe80::1"]]
)
async def test_one_address_of_a_name_that_is_not_public_is_enough(
    make_client: Make, names: Names, addresses: list[str]
) -> None:
    names["inside.test"] = [addresses]
    with pytest.raises(AddressForbidden) as caught:
        await ask(make_client("http://inside.test/v1"))
    shown = f"{caught.value!r} {caught.value.detail} {caught.value.__cause__!r}"
    assert not any(address in shown for address in addresses), "it would map the inside"


async def test_a_name_that_changes_is_connected_to_where_it_was_checked(
    upstream: Upstream,
    make_client: Make,
    names: Names,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: public when it is checked, loopback whenever it is asked for again."""
    names["rebind.test"] = [[PUBLIC], ["127.0.0.1"]]
    loop = asyncio.get_running_loop()
    connected: list[Any] = []

    async def connect(sock: socket.socket, address: Any) -> None:
        connected.append(address)
        raise OSError("not from a test")

    monkeypatch.setattr(loop, "sock_connect", connect)
    client = make_client(f"http://rebind.test:{upstream.port}/v1")
    with pytest.raises(ProviderUnreachable):
        await ask(client)
    assert connected == [(PUBLIC, upstream.port)]
    monkeypatch.undo()


async def test_a_name_that_has_changed_is_checked_again(make_client: Make, names: Names) -> None:
    names["rebind.test"] = [[PUBLIC], ["127.0.0.1"]]
    await check_address("http://rebind.test/v1", False)
    with pytest.raises(AddressForbidden):
        await ask(make_client("http://rebind.test/v1"))


async def test_a_redirect_is_not_followed(upstream: Upstream, make_client: Make) -> None:
    inside = {"Location": f"http://localhost:{upstream.port}/v1/chat/completions"}
    upstream.default = Answer(status=307, headers=inside)
    with pytest.raises(ProviderMisconfigured):
        await ask(make_client(upstream.url, allow_private=True))
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("url", "allow_private", "error"),
    [
        ("https://public.test/v1", False, None),
        ("https://public.test/v1", True, None),
        ("http://8.8.8.8/v1", False, None),
        ("http://inside.test/v1", True, None),
        ("http://inside.test/v1", False, AddressForbidden),
        ("http://[::1]/v1", False, AddressForbidden),
        ("http://169.254.169.254/", True, AddressForbidden),
        ("http://nowhere.test/v1", False, ProviderUnreachable),
        (f"http://{'a' * 70}.test/v1", False, ProviderUnreachable),
        ("http://a..b/v1", False, ProviderUnreachable),
        ("ftp://public.test/", False, ProviderMisconfigured),
        ("http://me:secret@public.test/", False, ProviderMisconfigured),
        ("public.test", False, ProviderMisconfigured),
    ],
)
async def test_an_address_can_be_checked_beforehand(
    names: Names, url: str, allow_private: bool, error: type[Exception] | None
) -> None:
    names |= {"public.test": [[PUBLIC]], "inside.test": [["10.0.0.7"]], "nowhere.test": [[]]}
    if error is None:
        await check_address(url, allow_private)
    else:
        with pytest.raises(error) as caught:
            await check_address(url, allow_private)
        assert type(caught.value) is error
    if not allow_private:
        assert await is_public(url) is (error is None)


def test_the_table_has_no_address_twice() -> None:
    addresses = [*NEVER, *PRIVATE, *GLOBAL]
    assert len({str(ip_address(a)) if ":" in a else a for a in addresses}) == len(addresses)


def test_uvloop_resolves_for_itself_and_is_checked_too(upstream: Upstream) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        for host in ("localhost", "127.0.0.1", "[::1]", "0x7f.1"):
            base = f"http://{host}:{upstream.port}/v1"
            client = CompletionClient(Endpoint(base, "", "none", allow_private=False), QUICK)
            with pytest.raises(AddressForbidden):
                await ask(client)
            await client.aclose()
        client = CompletionClient(Endpoint(upstream.url, "", "none"), QUICK)
        assert await ask(client)
        await client.aclose()
        assert await is_public("http://localhost/") is False

    uvloop.run(main())
    assert upstream.connections_made == 1
