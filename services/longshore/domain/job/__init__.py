"""The life of a job: its ids and statuses, and what each thing that happens makes of it.

`life` is the way in: `advance(jobs, happenings, now) -> changes`. What it sees is in `snapshot`,
of `record`s; what may happen in `happening`; what it decides in `changes`. It is made of `waiting`
(dependencies and children, whose edges are `dependency`'s and `arrays`'s), `asking` (cancel and
terminate), `altering` (changes of what waits), `ending` (attempts that start, end and are stopped,
by the rules of `job` and `retry`) and `returning` (attempts that were lost and are there again).
`attempts` keeps those that are live, `nodes` says what the nodes of a multi-node job are to it.
"""
