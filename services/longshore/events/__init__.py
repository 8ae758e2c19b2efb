"""The event service: EventBridge's API, and the flow of events to who is told of them.

It owns, as their only writer, event buses, rules with their targets, connections, API destinations,
archives and the records of replays. Rules are read where events are matched; each change of them
notifies a channel, so that what was read before is read again.

A call is answered with success only after its transaction is committed, and a call that fails has
changed nothing. Secrets of connections are written encrypted, by a key that is in a file and not in
the database, and no operation reads them back.

What happened is matched with rules (`matching`), in the order in which it was committed, and each
event for each target is a row until the target took it or it is given up (`delivering`); a target
that is slow or away delays nobody else. `firing` makes events by the clock, `watching` streams them
to followers, from the same tables. A job's event is made when it is matched, of what is on record,
and shows the job as it was at the time (`composing`).

How things fail: with the database away every call is UNAVAILABLE and health says NOT_SERVING until
it is back; any number of these processes may run beside each other. Of a process that dies in the
middle of matching nothing was done; what one had in hand to deliver is delivered by another a
minute later, so that an event may come twice, with the same id, and is never lost.
"""

import longshore.runtime.logs  # noqa: F401 - before structlog, see there
