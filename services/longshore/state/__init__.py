"""All SQL of longshore: one module per table, speaking domain records, on PostgreSQL alone.

`sql/<table>.sql` holds the queries by name, `<table>.py` one typed function for each. `migrations/`
holds the schema. PostgreSQL is the only truth; NOTIFY only wakes.
"""
