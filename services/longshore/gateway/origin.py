"""Who may call from a browser.

The gateway runs on developers' own machines and starts containers, and any page that they read can
make their browser send it a request. Programs send no `Origin`; browsers always do with POST and
DELETE. So a request with an origin must come from a page of the gateway itself; and while it
listens on loopback, that page's name must be loopback's, since a name that an attacker owns may
point there as well.
"""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether a host name or address (without brackets) means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_own(origin: str | None, host_header: str, *, on_loopback: bool) -> bool:
    """Whether a request with this `Origin` and `Host` is taken.

    Args:
        origin: the header's text, None when there is none.
        host_header: the request's `Host`.
        on_loopback: whether the gateway listens on loopback only.
    """
    if origin is None:
        return True
    try:
        page = urlsplit(origin)
    except ValueError:
        return False
    if not page.netloc or page.netloc != host_header:
        return False
    return not on_loopback or is_loopback(page.hostname or "")
