"""What a request's signature says, whether it is right or not: for records, and for ARNs."""

import re

_CREDENTIAL = re.compile(
    r"AWS4-HMAC-SHA256\s+(?:.*,\s*)?Credential=([!-+.0-~-]{1,128})/[0-9]{8}/([a-z0-9-]{1,32})/[a-z0-9-]+/aws4_request(?![^,\s])"
)


def signed_region(authorization: str | None) -> str | None:
    """The region that the caller signed for; None without a signature or with a malformed one.

    The header begins `AWS4-HMAC-SHA256 Credential=ID/20260131/eu-west-1/batch/aws4_request,`.
    """
    found = _found(authorization)
    return found.group(2) if found else None


def signed_access_key(authorization: str | None) -> str | None:
    """The access key that the caller names, which nobody has checked; as `signed_region`."""
    found = _found(authorization)
    return found.group(1) if found else None


def _found(authorization: str | None) -> re.Match[str] | None:
    return _CREDENTIAL.match(authorization[:4096]) if authorization else None
