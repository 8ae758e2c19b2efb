"""What a job asks of the agent that runs it: credentials of its role, and what it is.

An attempt has two ids, which follow from a key of this agent's own and die with the attempt: one
for the credentials of its role, one for its metadata. Whoever does not know an id gets nothing, and
nothing tells of the other attempts. An agent that starts again has the same key, so what runs goes
on asking as before.

There are two ways to it. Containers of the sandbox find it in their own network at 169.254.170.2,
port 80, as on Amazon ECS: the socket lies in the sandbox's network namespace, and the agent serves
it. Processes, and containers on the machine's network, find it on the machine's loopback interface,
where others may listen in on the way to it: there credentials want a token as well. Containers with
a network of their own have no way to it; one with a role does not start.

What happens at each failure:

- a role cannot be assumed: the attempt fails at its start and says why;
- it can no longer be assumed: credentials are good until they expire, and tried for meanwhile;
- the agent is away: SDKs ask again for some seconds, and have credentials for many minutes;
- a job asks too much: connections, their times and their sizes are bounded, and documents that
  cost the engine something are kept for a second.
"""
