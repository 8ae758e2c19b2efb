"""The scheduler: moves every job from its admission to its end.

It owns jobs after their insertion, attempts, arrays, the dispatch queue, demand and agents'
records, and is their sole writer. It offers agents their stream (AgentService) and says why a job
is where it is (SchedulerService). It never decides about instances.

One process holds a scheduling domain by a lease; the others stand by. The holder keeps a mirror of
its tables (`leading`, `memory`) and a registry of the agents that are connected (`agents`, on the
wire `wire`), and works in ticks (`service`). A tick is one transaction, in this order (`tick`):

0. what earlier ticks left to follow (`resuming`);
1. reports of agents: attempts started and ended, jobs succeed, fail or go back to the front of
   their queue (`ending`), and whatever follows: parents, dependents, children (`following`);
2. attempts are told to stop that are overdue, or whose instance's time is over;
3. submitted jobs are admitted (`admission`);
4. requests to cancel and terminate, and jobs of deleted queues (`requesting`), and users' changes
   of jobs that wait (`updating`);
5. RUNNABLE jobs are placed (`placing`), the first of each queue, or of the shares whose turn comes
   first (`heads`); what shares use is kept as attempts come and go (`sharing`).

Besides the ticks, finished jobs become history after a while, and history leaves a week at a time
(`history`): the tables of ticks hold what is live.

However much follows from one event, a tick does a bounded part of it: what is left of ended jobs is
kept in `happenings`, of requests on large arrays in `job_requests`, attempts of lost instances in
the mirror, where a successor finds them again; and the next tick goes on at once.

An instance is drained, so that it takes no more attempts, when provisioning has it TERMINATING,
when its agent says that the provider will take it away (a notice), and when it is a slot that got
its one attempt: with the placement, so that no slot is ever used again. It is stored, and so is
why an attempt was told to stop: a successor goes on where this process stops.

Only after the commit are reports acknowledged and assignments and stops sent. What fails:

- the process dies: the lease lapses or the successor waits for it; agents reconnect, say what they
  run and get the complete set of what should be live; reports not acknowledged come again and those
  known are ignored;
- the transaction fails as a whole, with the connection or the lease: the mirror is thrown away and
  loaded again, the reports are applied again;
- a report, notice or registration cannot be: it is refused or cut to what can be where it is read
  (`wire.convert`), and what an agent says counts for its own instance alone;
- one fails in the database all the same: it is set aside with an error line, its attempt ended as
  failed, and all others go on, with the mirror as it is (`apart`);
- so with whatever else a tick takes up, each part by itself (`isolating`): a job to admit, a
  request, a job of a deleted queue, a stop, an entry to place, what follows from an end. It stays
  in its table and is passed over for a pause that doubles each time it fails; how often a part
  tries is bounded, and the rest waits for the next tick. What follows from an item is not its
  fault: it is kept, and found out about in the next tick (`resuming`);
- a part fails as a whole, which reads what to act on, or queues, environments and supply, or stores
  sums (`isolating`, `counting`): it is set aside too, what was known holds until it is read again,
  and what could not be stored stays in the mirror until it can;
- an agent is silent, whether its stream is open or not: its instance is lost;
- the lease is lost: every transaction checks its token, so nothing is written; streams are closed;
- PostgreSQL is away: ticks fail and are tried again, agents keep their reports;
- an assignment is lost on the way: the agent's stream broke, and its next registration names it
  again.
"""

import longshore.runtime.logs  # noqa: F401 - before structlog, see there
