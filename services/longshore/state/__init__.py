"""All SQL of longshore: one module per table, speaking domain records, on PostgreSQL alone.

A folder has what one service owns, `views` what is read across. A table is written by the package
of its owner alone, and a service uses its own package alone; both are checked. Where another one
decides what becomes of a row, it calls a function of the owner's package that says so
(`submission.environment_scaling`, `submission.queue_deletion`). Tables that submission fills and
the scheduler takes over are written by either, a row by one after the other.

`sql/<table>.sql` of a folder holds the queries by name, `<table>.py` one typed function for each.
`migrations/` holds the schema. PostgreSQL is the only truth; NOTIFY only wakes.
"""
