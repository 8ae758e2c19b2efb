"""CloudWatch Logs' operations on the logs that the service keeps.

A stream of CloudWatch is a log, and an event what was printed as one line (`scan`). Tokens of pages
are positions, and nothing is kept for them: they are good for as long as their log is, across
restarts too. What a call may read and how long it may take is bounded; where there is more, its
answer says how to go on.
"""
