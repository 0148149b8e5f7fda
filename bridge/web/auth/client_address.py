"""Where a client comes from, as far as it can be believed.

Rule: a header is believed only as far as the trusted proxies wrote it. Each of them appends the
address that it was called from, so the right-most one that is no proxy's own is the client's.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address

    IpAddress: TypeAlias = IPv4Address | IPv6Address

#: Of an IPv6 address, the bits that tell one subscriber's network from another's.
_IPV6_NETWORK_BITS: Final = 64


class TrustedProxies:
    """The proxies whose `X-Forwarded-For` is believed."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """Take addresses, or networks as `10.0.0.0/8`.

        Raises:
            ValueError: If one is neither.
        """
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(
            ip_network(network, strict=False) for network in networks
        )

    def client_address(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """Return the client's address, in its usual form.

        `peer` is who has called; `forwarded_for` are the values of `X-Forwarded-For` in their order.
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
                break  # a proxy wrote no address: the way ends at it
            address = previous
        return str(address)

    def _is_trusted(self, address: IpAddress) -> bool:
        return any(address in network for network in self._networks)


def client_network(address: str) -> str:
    """Return what is counted as one place: an IPv4 address, or the /64 network of an IPv6 one.

    Whoever has one IPv6 address has 2**64 of them.
    """
    parsed = _parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed), _IPV6_NETWORK_BITS), strict=False))
    return address


@lru_cache(maxsize=1024)  # proxies call again and again
def _parse_address(text: str) -> IpAddress | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A listener for both families tells IPv4 peers as ::ffff:10.0.0.1.
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _strip_port(text: str) -> str:
    """Return what stands before a port: in `10.0.0.1:4711`, `[::1]:4711` and `[::1]`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
