"""The log service: keeps what attempts print, and hands it out.

It owns a directory of readable files, one per log, in the CRI line format that agents ship; it is
the only writer there, and needs no PostgreSQL. Agents append by offset on one stream each, so what
is sent twice is stored once; readers tail from any position and are woken by what arrives.

Logs are in groups. What jobs print is in that of jobs unless their log configuration names another;
callers may have groups and logs of their own (`cloudwatch`, CloudWatch Logs' operations). A
catalogue in SQLite beside the logs says which there are (`catalogue`), and marks beside each log
where reading can begin (`marks`): both are made of the logs, and made anew where they are not true.

Durability: what is appended is in the page cache when it is answered, so it survives this process.
It is forced to the disk when a log is complete, before that is answered, because then the agent
deletes its own copy. What a crash of the machine takes away of a log that is not complete, the
agent still has: it is refused with OUT_OF_RANGE, asks what is stored, and sends from there. What
callers put nobody else has: it is forced to the disk each time.

Logs are deleted once they are older than jobs become, or than their group's retention (`history`).

It never looks into jobs: a log is a name, and whoever may call may read it.
"""

import longshore.runtime.logs  # noqa: F401 - before structlog, see there
