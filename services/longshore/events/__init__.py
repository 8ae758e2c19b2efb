"""The event service: EventBridge's API.

It owns, as their only writer, event buses, rules with their targets, connections, API destinations,
archives and the records of replays. Rules are read where events are matched; each change of them
notifies a channel, so that what was read before is read again.

A call is answered with success only after its transaction is committed, and a call that fails has
changed nothing. Secrets of connections are written encrypted, by a key that is in a file and not in
the database, and no operation reads them back.

How things fail: with the database away every call is UNAVAILABLE and health says NOT_SERVING until
it is back; any number of these processes may run beside each other.
"""

import longshore.runtime.logs  # noqa: F401 - before structlog, see there
