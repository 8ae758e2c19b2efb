"""Provisioning: fulfils capacity orders through a provider, and gives instances back.

Owns `instances`, from ordered to terminated, and closes `capacity_orders`. Never decides how many.

An order is answered in one transaction that locks its row: instances go on record as ORDERED, the
order is closed, the answer can be given again word for word. Only then does the loop launch them,
so that a crash at any point leaves either nothing or a record of what is to be launched. The ids
of an order's instances follow from its own id, and a provider's launch is idempotent by instance
id.

The loop compares records with what the provider has, at start and in every pass:

- ORDERED: launched; FAILED with the provider's words when that does not work.
- LAUNCHED, and it is gone: started again under the same id, with growing delays, so that its
  agent finds its containers; FAILED after several deaths in a row. One that was draining or lost
  is over instead.
- TERMINATING: see below.
- The provider has an instance that is over on record, or was never ordered: it is ended.

Giving an instance back, step by step:

1. The scaler names it; TerminateInstances sets it TERMINATING and notifies `longshore_capacity`.
2. The scheduler reads TERMINATING instances when notified and in every refresh: it treats their
   agents as DRAINING, places nothing more on them, stores that status and sends `drain` down the
   stream. An attempt placed in the moment between runs to its end.
3. The agent exits by itself when its last attempt has ended and everything is acknowledged.
4. Provisioning sees the process gone, cleans up after it, and the record ends TERMINATED.
5. Where the agent does not exit although it is empty, or was lost, or never registered, the
   process gets SIGTERM after a grace time, and SIGKILL after another. While attempts are live on
   a reachable agent it is left alone.

When the service stops, instances go on and are adopted by the next one. With
LONGSHORE_STOP_INSTANCES=true it ends them all first: agents get SIGTERM, containers are removed,
records end TERMINATED, and the scheduler ends their attempts as those of a terminated instance.
"""
