"""The life of a job: its ids and statuses, and what the end of an attempt means for it.

`job` has the statuses and judges ended attempts, by the rules of `retry`. `arrays` says which
children wait for what, `nodes` what the nodes of a multi-node job are to it.
"""
