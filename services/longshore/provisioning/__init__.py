"""Provisioning: fulfils capacity orders through a provider, and gives instances back.

Owns `capacity_orders`, `instances`, from ordered to terminated, and `offers`. Never decides how
many. One process at a time is at work: all that it does to orders and instances is guarded by a
lease. What was over long ago is forgotten (`history`).

An order is answered once, whatever fails (`fulfilling`): the provider is asked by the order's own
id, and a single transaction puts instances on record and closes the order. A cloud launches while
it answers, so its instances are LAUNCHED from the start; the local provider only says which there
will be, and ORDERED ones are launched by the loop.

The loop compares records with what the provider has, at start and in every pass:

- ORDERED: launched; FAILED with the provider's words when that does not work.
- LAUNCHED, and it is gone, where instances can be revived: started again under the same id, with
  growing delays, so that its agent finds its containers; FAILED after several deaths in a row.
  Where they cannot: over; FAILED if its agent never registered, unless the provider says that it
  took it back. One that was draining or lost is over in any case. What a cloud has launched and
  does not show yet is waited for.
- TERMINATING: see below.
- The provider has an instance that is over on record, or was never on record, and whose order
  nobody is answering: it is ended.

A provider that does not answer puts the pass off, and nothing is concluded from that. A pass that
could not end or launch something does all the rest, and comes again soon.

Giving an instance back, step by step:

1. The scaler names it, or its agent was told by the provider that it will be taken away, or a user
   interrupts it; it is TERMINATING, and scheduler and scaler are notified.
2. The scheduler reads TERMINATING instances when notified and in every refresh: it treats their
   agents as DRAINING, places nothing more on them, stores that status and sends `drain` down the
   stream. An attempt placed in the moment between runs to its end. Where there is a time by which
   it is to be empty (`drain_until`), the scheduler stops then what still runs.
3. The agent exits by itself when its last attempt has ended and everything is acknowledged.
4. Provisioning sees the instance gone, cleans up after it, and the record ends TERMINATED.
5. Where the agent does not exit although it is empty, or was lost, or never registered, the
   instance is asked to end after a grace time, and made to after another. While attempts are live
   on a reachable agent it is left alone; but at the end of a notice (`ends_at`) it is ended by
   force, whatever runs: its attempts end as those of a terminated instance.

With the local provider an instance is a process of one machine, and its record says of which.
Provisioning of another machine on the same database waits for the lease; if it gets it, because the
first one is away, it neither starts nor ends what is not its own. Instances of the other machine
work on while their agents speak to the scheduler; once one is lost, or should be started again or
be ended, its record ends, and an agent that is there all the same is refused and ends what it runs.

When the service stops, instances go on and are adopted by the next one. On SIGUSR1, or with
LONGSHORE_STOP_INSTANCES=true, it ends them all first: agents get SIGTERM, containers are removed,
records end TERMINATED, and the scheduler ends their attempts as those of a terminated instance.
"""

import longshore.runtime.logs  # noqa: F401 - before structlog, see there
