"""The scaler: decides how much capacity each managed compute environment has.

Owns `desiredvCpus` after creation, the status of managed compute environments, and
`scaling_activities`. Records capacity orders before it places them with provisioning. Never
launches or ends anything itself.

One decision at a time, whoever asks and however many scalers run: the lease "scaler" is taken for
one pass and given back. A pass:

1. Closes orders that were left open by a pass that did not end. Provisioning answers an order
   under a lock of its row, so either its instances are on record by now, or it will find the
   order closed and get nothing. So no order counts twice, and none is lost: what is still missing
   is decided anew.
2. Reads demand, environments and instances as of one moment. Instances count from ORDERED on.
3. Decides: `longshore.domain.scaling.decide`, a pure function.
4. For each environment: records the order, places it, gives instances back, then settles
   `desiredvCpus` at what was really had, with an activity that says why. Every transaction checks
   the lease.

When provisioning is away the pass fails, and is tried again with growing delays. Types that a
provider was short of are not asked for again during a cool-down.

A pass runs when `longshore_capacity` or `longshore_environments` is notified, when asked through
ScalerService, and at the latest every LONGSHORE_SCALE_INTERVAL.
"""
