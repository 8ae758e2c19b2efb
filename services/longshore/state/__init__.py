"""All SQL of longshore: one module per table, speaking domain records, on PostgreSQL alone.

A folder has what one service writes, `views` what is read across. `sql/<table>.sql` of a folder
holds the queries by name, `<table>.py` one typed function for each. `migrations/`
holds the schema. PostgreSQL is the only truth; NOTIFY only wakes.
"""
