"""Where events may be sent: a target's address is user input, and the service stands inside."""

import ipaddress

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: Addresses between providers and their customers; some clouds have their metadata there.
_SHARED = ipaddress.ip_network("100.64.0.0/10")
#: Metadata of machines in networks that are private otherwise.
_METADATA = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200"))
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def refusal(text: str, *, allows_private: bool) -> str | None:
    """Why nothing is sent to an address; None if it may be.

    Args:
        text: the address.
        allows_private: whether loopback and private networks may be sent to.
    """
    address = _inner(ipaddress.ip_address(text.partition("%")[0]))
    if address in _METADATA or address.is_link_local:
        return f"{text} is an address of machines' metadata or of one link"
    # Of IPv6 what is reserved has loopback in it, and ranges in use.
    is_reserved = address.version == 4 and address.is_reserved
    if address.is_multicast or address.is_unspecified or is_reserved:
        return f"{text} is no address of one machine"
    if not allows_private and _is_own(address):
        return (
            f"{text} is a loopback or private address; LONGSHORE_EVENTS_PRIVATE_TARGETS=allow "
            "lets events be sent there"
        )
    return None


def _is_own(address: Address) -> bool:
    """Whether it is of this machine or of a private network."""
    is_shared = isinstance(address, ipaddress.IPv4Address) and address in _SHARED
    return address.is_loopback or address.is_private or is_shared


def _inner(address: Address) -> Address:
    """The address that another one stands for."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
