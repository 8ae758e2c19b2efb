"""The scaler: decides how much capacity each managed compute environment has.

Owns `desiredvCpus` after creation, the status of managed compute environments after their creation
and updates, and `scaling_activities`. Records capacity orders before it places them with
provisioning. Never launches or ends anything itself.

One decision at a time, whoever asks and however many scalers run: the lease "scaler" is taken for
one pass, prolonged while it takes, and given back. A pass:

1. Closes orders that were left open by a pass that did not end. Provisioning closes an order in the
   transaction that puts its instances on record, and one that is being answered is left alone; so
   no order counts twice, and none is lost: what is still missing is decided anew.
2. Writes down what orders of earlier passes got that took long (`flight`).
3. Reads demand, environments, instances, quotes and shortages as of one moment. Instances count
   from ORDERED on.
4. Decides: `longshore.domain.scaling.scaling.decide`, a pure function.
5. For all environments side by side: records the order, places it, gives instances back, then
   settles `desiredvCpus` at what was really had, with an activity that says why. What a client
   raised it to stands while the provider is short of that. Every transaction checks the lease.
6. Decides again from 3 on, a few times at most, if the provider was short of something: another
   type or another environment is tried at once.

What fails: an environment whose order is refused or not answered is left alone for a while that
grows, and the others are served; an order that takes long stays in flight, and its environment gets
no second one meanwhile. What a provider was short of is not asked for again during a cool-down, in
any environment; its own bound on instances is forgotten as soon as one of them ends.

A pass runs when `longshore_capacity` or `longshore_environments` is notified, when asked through
ScalerService, when a cool-down, an idle delay, a boot limit or a delay after a failure ends
(`alarm`), and at the latest every LONGSHORE_SCALE_INTERVAL.
"""
