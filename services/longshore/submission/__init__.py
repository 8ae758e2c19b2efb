"""The submission service: the AWS-shaped API.

It owns, as their only writer, compute environments, job queues, job definitions and tags; it
inserts jobs, with what they were submitted as, and records cancel, terminate and changes of what
waits as requests (`jobs`, `stopping`, `updating`). It never changes a job after that, and never
talks to agents: the scheduler does both, woken by a notification on the channel that goes with the
table. Of a change it waits for what the scheduler makes of it, and takes it back where that takes
long.

A call is answered with success only after its transaction is committed, and a call that fails has
changed nothing. SubmitJob calls that arrive together share a transaction (`submit`, `batcher`);
each is still refused or stored by itself. SubmitJob has no idempotency token at AWS; here a client
may put a UUID of its own making into the metadata `x-longshore-request-id`. It becomes the job's
id, and repeating the call with it answers the same job instead of making another one. In gRPC a
`client_token` does so for a day for the same request, whatever the id: it is taken in the
transaction that stores the job, so that of two calls at once, in whichever process, one makes it.

What AWS has not is in gRPC alone: members marked as extensions, and `JobControlService`.

A multi-node job is one row of jobs; its nodes have none. Where a node is follows from its job until
that is placed, and from then on from the node's attempt in the job's latest try, which the
scheduler writes. Users stop, tag and wait for the job, never for a node.

How things fail: with the database away every call is UNAVAILABLE and health says NOT_SERVING until
it is back, nothing else is lost; killed, it loses only calls that were not answered; any number of
these processes may run beside each other. What AWS accepts and longshore cannot do is refused,
naming the member.

Where it is more lenient than AWS: an UNMANAGED compute environment needs no service role, and a
MANAGED one no subnets, security groups or instance role, since they mean nothing outside AWS; where
they are given, their form is checked and they are kept. Sizes of requests are those of the
serialized message.
"""

import longshore.runtime.logs  # noqa: F401 - before structlog, see there
