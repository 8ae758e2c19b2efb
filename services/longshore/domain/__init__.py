"""The rules of longshore, without wire, database, clock or randomness.

Everything here is a function of its arguments: `now` and the random seed are arguments. Services
load a snapshot, ask this package for a decision, and apply it.
"""
