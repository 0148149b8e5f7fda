"""The client's address from `X-Forwarded-For`.

Rule: only entries that trusted proxies wrote count. Each proxy appends the address of its caller,
so the client's address is the right-most one that is not a trusted proxy.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address

    IpAddress: TypeAlias = IPv4Address | IPv6Address

#: The prefix length of one subscriber's IPv6 network.
_IPV6_NETWORK_BITS: Final = 64


class TrustedProxies:
    """The proxies whose `X-Forwarded-For` is trusted."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """Accept addresses and networks such as `10.0.0.0/8`.

        Raises:
            ValueError: If an entry is neither.
        """
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(
            ip_network(network, strict=False) for network in networks
        )

    def client_address(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """Return the client's address in its canonical form.

        `peer` is the other end of the TCP connection. `forwarded_for` are the values of all
        `X-Forwarded-For` headers in order.
        """
        address = _parse_address(peer)
        if address is None:
            return peer
        if not self._is_trusted(address):
            return str(address)
        hops = [hop for value in forwarded_for for hop in value.split(",")]
        while hops and self._is_trusted(address):
            previous = _parse_address(_strip_port(hops.pop().strip()))
            if previous is None:
                break  # a proxy wrote something else: the chain ends here
            address = previous
        return str(address)

    def _is_trusted(self, address: IpAddress) -> bool:
        return any(address in network for network in self._networks)


def client_network(address: str) -> str:
    """Return the key of limits per address: an IPv4 address, or the /64 network of an IPv6 one.

    A subscriber with one IPv6 address has 2**64 of them.
    """
    parsed = _parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed), _IPV6_NETWORK_BITS), strict=False))
    return address


@lru_cache(maxsize=1024)  # proxies connect many times
def _parse_address(text: str) -> IpAddress | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A dual-stack listener reports IPv4 peers as ::ffff:10.0.0.1.
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _strip_port(text: str) -> str:
    """Return the host of `10.0.0.1:4711`, `[::1]:4711` or `[::1]`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
