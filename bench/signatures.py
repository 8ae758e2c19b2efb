"""What it costs to know who calls: a signature over HTTP, a key over gRPC, and a policy.

In processor time, so that other work on the machine does not count.
"""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from longshore.domain.access import policy, signature
from longshore.domain.access.deciding import decide
from longshore.domain.access.principal import digest_of
from longshore.domain.access.signature import Request
from longshore.rpc.assertion import Asserted, Assertions

ROUNDS = 5_000
#: What checking a signature may take.
SIGNATURE_MICROSECONDS = 150
_KEY, _SECRET = "LSIA" + "A" * 16, "s" * 40
_METHOD = "/longshore.v1.SubmissionService/SubmitJob"
_QUEUE = "arn:aws:batch:us-east-1:123456789012:job-queue/q"


def _microseconds(call: Callable[[], object]) -> float:
    call()
    began = time.process_time()
    for _ in range(ROUNDS):
        call()
    return (time.process_time() - began) / ROUNDS * 1e6


async def main() -> bool:
    """Prints what each costs; whether a signature costs as little as it may."""
    body = json.dumps({"jobName": "j", "jobQueue": "q", "jobDefinition": "d:1"}).encode()
    made = AWSRequest("POST", "http://127.0.0.1:7080/v1/submitjob", data=body)
    SigV4Auth(Credentials(_KEY, _SECRET), "batch", "us-east-1").add_auth(made)
    prepared = made.prepare()
    headers = {"host": ["127.0.0.1:7080"]} | {
        name.lower(): [value.decode() if isinstance(value, bytes) else value]
        for name, value in prepared.headers.items()
    }
    request = Request("POST", "/v1/submitjob", "", headers)
    key = signature.signing_key(_SECRET, signature.read(request).scope)

    def verify() -> None:
        signed = signature.read(request)
        signature.check_time(signed, datetime.now(UTC))
        signature.verify(signed, request, signature.check_payload(request, body), key)

    ten = policy.read(
        "ten",
        json.dumps(
            {
                "Version": policy.NEWEST,
                "Statement": [
                    {"Effect": "Allow", "Action": f"batch:Submit{n}*", "Resource": f"{_QUEUE}{n}*"}
                    for n in range(9)
                ]
                + [{"Effect": "Allow", "Action": "batch:*", "Resource": _QUEUE}],
            }
        ),
    )
    assertions = Assertions(b"k" * 32)
    asserted = Asserted(_KEY, "127.0.0.1")
    token = assertions.make(asserted, _METHOD)
    costs = {
        "signature": _microseconds(verify),
        "digest of a secret": _microseconds(lambda: digest_of(_SECRET)),
        "token, made": _microseconds(lambda: assertions._encode(asserted, _METHOD, 1)),  # noqa: SLF001
        "token, read": _microseconds(lambda: assertions._decode(token)),  # noqa: SLF001
        "token, read again": _microseconds(lambda: assertions.read(token, _METHOD)),
        "policy of ten statements": _microseconds(
            lambda: decide([ten], "batch:SubmitJob", _QUEUE, {"aws:username": ("ana",)})
        ),
    }
    for name, cost in costs.items():
        print(f"  {name}: {cost:.1f} µs")
    return costs["signature"] < SIGNATURE_MICROSECONDS


if __name__ == "__main__":
    raise SystemExit(not asyncio.run(main()))
