"""The scaler: decides how much capacity each managed compute environment has.

Owns `desiredvCpus` after creation, the status of managed compute environments after their creation
and updates, and `scaling_activities`. Places capacity orders with provisioning, whole, over the
wire: what is on record of them is provisioning's. Never launches or ends anything itself.

One decision at a time, whoever asks and however many scalers run: the lease "scaler" is taken for
one pass, prolonged while it takes, and given back. A pass:

1. Writes down what orders of earlier passes got that took long (`flight`).
2. Reads demand, environments, instances, quotes and shortages as of one moment. Instances count
   from ORDERED on, and an environment with an open order gets no further one.
3. Decides: `longshore.domain.scaling.scaling.decide`, a pure function.
4. For all environments side by side: places the order, gives instances back, then settles
   `desiredvCpus` at what was really had, with an activity that says why. What a client raised it to
   stands while the provider is short of that. Every transaction checks the lease.
5. Decides again from 2 on, a few times at most, if the provider was short of something: another
   type or another environment is tried at once.

No order counts twice, and none is lost. It carries the token of the lease under which it was
decided, and provisioning puts it on record only while that is held: an order that comes later than
its pass gets nothing, and one that came in time is open, or has its instances on record, before the
next pass reads. What is still missing then is decided anew.

What fails: an environment whose order is refused or not answered is left alone for a while that
grows, and the others are served; an order that takes long stays in flight, and its environment gets
no second one meanwhile. What a provider was short of is not asked for again during a cool-down, in
any environment; its own bound on instances is forgotten as soon as one of them ends.

A pass runs when the scheduler notifies of demand, provisioning of capacity, or anybody of changed
environments, when asked through ScalerService, when a cool-down, an idle delay, a boot limit or a
delay after a failure ends (`alarm`), and at the latest every LONGSHORE_SCALE_INTERVAL.
"""

import longshore.runtime.logs  # noqa: F401 - before structlog, see there
