"""Where an alert may be sent: never to addresses from which a cloud hands out credentials, nor unasked to this machine.

Addresses are judged as they are connected to, after the name was resolved: a name that means something else a moment
later changes nothing. Company networks (10.0.0.0/8 and the like) are allowed, since receivers usually live there.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

# Metadata services outside of the link-local range: AWS (IPv6), Alibaba, Oracle, Azure's WireServer.
_METADATA: Final = frozenset(
    map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)
_NAT64: Final = ip_network("64:ff9b::/96")
_IPV4_BITS: Final = 0xFFFF_FFFF


class ForbiddenAddressError(OSError):
    """The receiver's name leads where no alert may go; the text says where, in words."""


def check_address(text: str, *, loopback: bool) -> None:
    """Refuse an address that alerts may not be sent to.

    Raises:
        ForbiddenAddressError: it may not.
        ValueError: it is no IP address.
    """
    for address in _meant(ip_address(text.partition("%")[0])):
        if address.is_loopback:
            if not loopback:
                raise ForbiddenAddressError(
                    "it is this machine; write loopback: allowed in registry.yaml if it is meant"
                )
        elif address.is_link_local or address in _METADATA:
            raise ForbiddenAddressError("it is a link-local or metadata address, where clouds keep credentials")
        elif address.is_unspecified or address.is_multicast or (address.is_reserved and not _is_nat64(address)):
            raise ForbiddenAddressError("it is no address of one machine")


def _meant(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """Return the address, or the IPv4 ones that are hidden in it."""
    if isinstance(address, IPv4Address):
        return [address]
    hidden = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if _is_nat64(address):
        hidden.append(IPv4Address(int(address) & _IPV4_BITS))
    found: list[IPv4Address | IPv6Address] = [one for one in hidden if one is not None]
    return found if address.ipv4_mapped else [address, *found]


def _is_nat64(address: IPv4Address | IPv6Address) -> bool:
    return isinstance(address, IPv6Address) and address in _NAT64


class CheckedResolver(AbstractResolver):
    """Resolves names as the system does, and refuses a name if any of its addresses is forbidden."""

    def __init__(self, *, loopback: bool) -> None:
        """Allow this machine, or not."""
        self._loopback = loopback
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            ForbiddenAddressError: one of them may not be connected to.
            OSError: there is no such host.
        """
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            check_address(one["host"], loopback=self._loopback)
        return found

    async def close(self) -> None:
        """Let go of nothing."""
