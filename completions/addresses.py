"""Which addresses may be connected to: keeps an address somebody typed from reaching inside.

Server-side request forgery is closed where the connection is made (completions.transport): a name
is resolved once, every address it has is checked, and one of just those is connected to. What is
here decides, and lets forms ask beforehand.
"""

import asyncio
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from completions.errors import AddressForbidden, ProviderMisconfigured, ProviderUnreachable

RESOLVE_SECONDS = 5.0

# Where clouds keep the credentials of a machine, besides the link-local 169.254.169.254: AWS and
# Google over IPv6, Alibaba, Oracle, Azure.
_METADATA = frozenset(
    ip_address(text)
    for text in (
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
    )
)
# Python before 3.12.4 calls these global (IANA's registries of special-purpose addresses do not).
_SPECIAL_V4 = (ip_network("192.0.0.0/24"), ip_network("192.88.99.0/24"))
_SPECIAL_V6 = (ip_network("3fff::/20"), ip_network("2001:20::/28"))
_GLOBAL_UNICAST = ip_network("2000::/3")  # all that IANA has given out of IPv6
# IPv6 addresses that stand for an IPv4 address: RFC 4291, 3056, 4380, 6052, 8215.
_MAPPED = ip_network("::ffff:0:0/96")
_COMPATIBLE = ip_network("::/96")
_SIX_TO_FOUR = ip_network("2002::/16")
_TEREDO = ip_network("2001::/32")
_NAT64 = ip_network("64:ff9b::/96")
_LOCAL_NAT64 = ip_network("64:ff9b:1::/48")


@dataclass(frozen=True, slots=True)
class Resolved:
    """An address that a connection may be made to."""

    family: socket.AddressFamily
    address: str


def is_allowed(address: str, *, allow_private: bool) -> bool:
    """Whether a numeric address may be connected to.

    Never: link-local addresses (169.254.169.254 and fe80::/10 among them), the other places of
    cloud credentials, multicast, broadcast, unspecified. With allow_private anything else, such as
    loopback and RFC 1918; without it only what is routed on the public internet. An IPv6 address
    that stands for an IPv4 address may be connected to if that one may.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return _is_allowed_v4(parsed, allow_private)
    if _is_never(parsed):
        return False
    if not all(_is_allowed_v4(inner, allow_private) for inner in _embedded(parsed)):
        return False
    if allow_private or parsed in _MAPPED or parsed in _NAT64:
        return True
    is_special = any(parsed in network for network in _SPECIAL_V6)
    return parsed in _GLOBAL_UNICAST and parsed.is_global and not is_special


def split_url(url: str) -> SplitResult:
    """Return the parts of a provider's address, or raise ProviderMisconfigured."""
    try:
        parts = urlsplit(url.strip())
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        # httpx would turn a name and password in the url into a header in place of the key's.
        is_url = is_url and "@" not in parts.netloc
    except ValueError:
        is_url = False
    if not is_url:
        raise ProviderMisconfigured("The provider's address is no http or https url.")
    return parts


async def resolve(host: str, port: int, *, allow_private: bool, family: int = 0) -> list[Resolved]:
    """Return all addresses of a host, having checked each of them.

    Numeric spellings that only the system understands ("0x7f.1", "2130706433") are names here, and
    become addresses like these. Raises AddressForbidden if a single one may not be connected to
    (its message does not say which: that would map the inside for whoever typed the name), and
    OSError if there is none.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty or too long
        raise OSError("no such host name") from error
    addresses = [Resolved(kind, str(place[0])) for kind, _, _, _, place in found]
    for each in addresses:
        if not is_allowed(each.address, allow_private=allow_private):
            raise forbidden()
    if not addresses:
        raise OSError("the host has no address")
    return addresses


def forbidden() -> AddressForbidden:
    return AddressForbidden("The provider's address is not one that may be connected to.")


async def check_address(url: str, allow_private: bool) -> None:
    """Check a provider's address before it is saved.

    Raises ProviderMisconfigured (no url), AddressForbidden, or ProviderUnreachable (its host name
    has no address, or none within RESOLVE_SECONDS). It makes no connection and promises nothing
    about the next: what a name means can change, so each connection is checked again.
    """
    parts = split_url(url)
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            await resolve(parts.hostname or "", parts.port or 443, allow_private=allow_private)
    except OSError:  # the timeout's error among them
        raise ProviderUnreachable("The provider's host name has no address.") from None


async def is_public(url: str) -> bool:
    """Whether all addresses of a url's host are on the public internet; no, if it has none."""
    try:
        await check_address(url, False)
    except (ProviderMisconfigured, ProviderUnreachable):
        return False
    return True


def _is_never(address: IPv4Address | IPv6Address) -> bool:
    return (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address in _METADATA
    )


def _is_allowed_v4(address: IPv4Address, allow_private: bool) -> bool:
    # All of 0.0.0.0/8: "this network", which Linux takes for this host.
    if _is_never(address) or address.packed[0] == 0 or address.packed == b"\xff\xff\xff\xff":
        return False
    if allow_private:
        return True
    return address.is_global and not any(address in network for network in _SPECIAL_V4)


def _embedded(address: IPv6Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that a translator or tunnel could make of an IPv6 address."""
    packed = address.packed
    if address in _MAPPED or address in _NAT64:
        return [IPv4Address(packed[12:])]
    if address in _COMPATIBLE:
        return [] if packed[:15] == bytes(15) else [IPv4Address(packed[12:])]  # ::1 is loopback
    if address in _SIX_TO_FOUR:
        return [IPv4Address(packed[2:6])]
    if address in _TEREDO:  # the server, and the client with its bits turned round
        client = bytes(byte ^ 0xFF for byte in packed[12:])
        return [IPv4Address(packed[4:8]), IPv4Address(client)]
    if address in _LOCAL_NAT64:  # RFC 6052: where it stands depends on the prefix's length
        return [
            IPv4Address(place) for place in (packed[12:], packed[6:8] + packed[9:11]) if any(place)
        ]
    return []
