"""The gateway: AWS's HTTP and JSON in front of the gRPC of the services behind.

It owns nothing, keeps nothing, and knows no operation by name; one port serves all of AWS's
services that longshore speaks (`behind` lists who answers). Each rpc of `SubmissionService` carries
its HTTP route as an option; the others' are `POST /` with the operation in a header, as AWS's JSON
protocol has it. `operation` reads names, routes and messages from the descriptors, `codec` turns
AWS's JSON into messages and back, `fault` turns errors into AWS's form, `handler` joins the three
to aiohttp. An operation that is added to the protos is served without a line written here.

What is checked where: the shape of the JSON (syntax, types, unknown members, size) here, because
nobody behind the gateway sees it; everything else (required members, enumerations, limits,
existence) in the service behind, because gRPC callers do not pass through here.

Identity: each request is signed (`authentication`); what it is checked with submission derives, so
that no secret gets here. Whose signature it was is told to the service behind by a token for one
rpc, and that service decides what the caller may do. The region that a caller signed for is the
one that its answers' ARNs have. A page in a browser must not submit jobs behind its
reader's back nor read what is there, so requests sent by other sites' pages, or to a name that is
not the gateway's, are refused (`origin`).

When the submission service is away, each call is answered with 503 at once and health says so; the
gateway recovers by itself. On SIGTERM no connection is taken any more and calls in flight end
within the grace period.
"""

import longshore.runtime.logs  # noqa: F401 - before structlog, see there
