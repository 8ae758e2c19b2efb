"""The rules of longshore, without wire, database, clock or randomness.

Everything here is a function of its arguments: `now` and the random seed are arguments. Services
load a snapshot, ask this package for a decision, and apply it.

It has wings, each of which answers one question: what a caller may ask and what it becomes
(`request`), what happens to a job (`job`), which job goes where and why not (`placing`), how
amounts are packed (`packing`), and which instances there are to be (`scaling`). `placing` and
`scaling` do not know each other. At the root is what all of them speak of.
"""
