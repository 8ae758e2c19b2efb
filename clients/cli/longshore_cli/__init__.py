"""The `longshore` command: everything a person does with longshore, on top of `longshore_client`.

Exit codes: 0 done; 1 a job failed, or the answer is no; 2 wrong usage or a refused request; 3 the
services cannot be reached; 4 what was named does not exist; 5 not in time; 130 interrupted. `run`
leaves with the exit code of its job. Every failure is one sentence on standard error.
"""
