"""Who may call from a browser.

The gateway runs on developers' own machines and starts containers, and any page that they read can
make their browser send it a request. Two headers tell such a request, and no page can forge them:

- `Host` is the name that the browser was told to go to. An attacker's own name may point at
  loopback by the time of the request, and its page then reads every answer as its own. So a request
  must name the gateway as those do who know it: by loopback's names, by the address that it is set
  to listen on, or by a name that its settings list.
- `Origin` is the site of the page. Programs send none; browsers always do with POST and DELETE. So
  a request with an origin must come from a page of the gateway itself.
"""

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import urlsplit

#: A name or an address (an IPv6 address in brackets), and maybe a port.
_HOST = re.compile(r"(?:([^\s:/?#@\[\]]+)|\[([^\s\[\]]+)\])(?::[0-9]{1,5})?")


def is_loopback(host: str) -> bool:
    """Whether a host name or address (without brackets) means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_known(host_header: str, known: Collection[str]) -> bool:
    """Whether a request is for the gateway by one of its names.

    Args:
        host_header: the request's `Host`; '' if it has none. One with two does not get this far.
        known: names and addresses beside loopback's, in lower case, without brackets.
    """
    match = _HOST.fullmatch(host_header)
    if match is None:
        return False
    host = (match[1] or match[2]).lower()
    return is_loopback(host) or host in known


def is_own(origin: str | None, host_header: str) -> bool:
    """Whether a request with this `Origin`, None for none, is from a page of its `Host`."""
    if origin is None:
        return True
    try:
        site = urlsplit(origin).netloc
    except ValueError:
        return False
    return bool(site) and site == host_header
