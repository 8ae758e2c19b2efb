"""Who calls, and what callers may do: signatures, keys and policies, without any input or output.

A request over HTTP is signed with a secret (`signature`); over gRPC the key itself is its bearer's
token (`key`). What a user may do is said by policies in IAM's JSON (`policy`), under conditions
(`condition`), and decided by one rule (`deciding`): an explicit deny wins, then an allow, else the
answer is no. `managed` has the policies that are there from the start, `bucket` the pace at which
one key may call.
"""
