"""Secrets of attempts: read on the instance that runs them, at the start of each attempt.

A job record says where a value lies and never what it is. The agent reads the value itself, as
Amazon's agent does, because it has what reading takes: the machine's credentials for AWS, and the
file of the machine it runs on. So no value passes through submission, the database, the scheduler
or the wire between them, and a service that is broken into has none to give.

- `sources`: AWS Secrets Manager, SSM Parameter Store, longshore's own file, behind one call;
- `file`: that file, encrypted, with its key in a file of its own;
- `reading`: what an attempt's container asks for, read and put together;
- `__main__`: the program behind `longshore secret`.

A value is held in the agent's memory from the first step of an attempt until its main process has
started, or the start has failed. It is in no journal, spool, label, event or log line, and what an
engine says of a failed start is told without it. The container has it in its environment, which
the engine shows to whoever may use the engine (`docker inspect`), as on ECS.

What happens at each failure:

- the store is away, or throttles: the call is repeated a few times, then the start fails;
- the store refuses, or has no such secret, version or key: the start fails at once, with
  `ResourceInitializationError`, the secret's name and the store's words;
- the agent is killed meanwhile: the next one begins the start anew, and reads again;
- the attempt is stopped meanwhile: reading is given up.
"""
