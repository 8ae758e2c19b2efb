"""Which waiting job goes to which instance now, and why the others wait.

`shapes` is what placement speaks of, `plan` makes the plan of one tick, on instances as `opening`
keeps them while it is made; `holding` holds some for what found no room, and `parking`
remembers from plan to plan what found none; `sharing` says whose job is next in a queue that has
a fair-share policy, `capping` how many more the caps of arrays and queues let run.

Why the others wait is decided on enumerations, once for all who ask: `lacking` counts what
instances are short of, `waiting` tells what can never run, or not now. `words` says it, in AWS's
words where it has some.

Nothing here decides about instances: that is `longshore.domain.scaling`, and neither knows the
other.
"""
