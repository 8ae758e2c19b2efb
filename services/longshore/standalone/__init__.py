"""longshore on one machine: owns the embedded PostgreSQL and the processes of all services.

What `longshore up` starts. One process per data directory, held by a lock on `<data-dir>/lock`,
which is the truth about whether a stack runs: a lock does not go stale. What a person or another
process wants to know is in `<data-dir>/longshore.json` (`record.Record`), written anew at every
change.

Up: adopt or start PostgreSQL, migrate, start every service as `python -m longshore.<service>`, wait
until each says SERVING, make the compute environment and the queue `default` the first time, say
ready. From then on a service that dies is started again after a growing pause. Down, on SIGTERM:
front doors first, then instances, then the rest, PostgreSQL last, each with a bounded time to end
by itself.

Failures: a service that cannot come up at first ends the start with the end of its log; one that
dies later is restarted for ever, since jobs run on meanwhile. A supervisor that is killed leaves
services, PostgreSQL and instances running: jobs go on, `status` says that nobody watches. The next
up finds the services by the record and puts its own in their place, of its version and with its
settings; PostgreSQL and instances it takes over as they run. The next down stops all. Jobs end with
the stack only where its end was asked for: a supervisor that fails leaves instances to the next.

It never decides anything about jobs or instances, and nothing depends on it: in production each
service is started by systemd or a container platform instead.
"""

import longshore.runtime.logs  # noqa: F401 - before structlog, see there
