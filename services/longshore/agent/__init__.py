"""The agent: one process on each instance, which runs attempts and reports how they fare.

It owns nothing in the database. It keeps a small journal and a spool of logs in its data directory,
and holds one stream to the scheduler and one to the log service.

An attempt moves one step at a time (`controller`): its secrets are read (`secret`), its image is
pulled if missing, its container is created and started, watched, its output collected, its
container removed. Each step that changes what others can see yields a change; the outbox folds
changes of a few milliseconds into a numbered report, the journal makes the report durable, and only
then is it sent. A report stays in the journal until the scheduler has acknowledged it and is sent
again after every reconnect.

What happens at each failure:

- the scheduler is away: containers run on, reports gather in the journal, the stream connects
  again;
- the agent is killed: containers run on; the next start finds them by label (or by their directory,
  for processes), reads their exits and goes on where the journal ends;
- the engine is away: attempts about to start wait for it, running ones are watched again as soon
  as it answers;
- the log service is away: output stays in the spool and is sent later, each byte once;
- the instance is over on record: the agent stops what it runs and exits.

It never reaches the database, never decides what to run, and never runs an attempt twice.
"""

import longshore.runtime.logs  # noqa: F401 - before structlog, see there
