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
services and PostgreSQL running; the next up or down finds them by the record and stops them first.

It never decides anything about jobs or instances, and nothing depends on it: in production each
service is started by systemd or a container platform instead.
"""
