"""Where a call comes from."""

import functools
from urllib.parse import unquote


@functools.lru_cache(maxsize=1024)
def peer_address(peer: str) -> str:
    """The address in gRPC's name of a peer, as in `ipv4:10.0.0.7:4711` or `ipv6:[::1]:4711`."""
    kind, _, rest = peer.partition(":")
    if kind in ("ipv4", "ipv6"):
        return unquote(rest).rpartition(":")[0].strip("[]")
    return "127.0.0.1" if kind == "unix" else peer
