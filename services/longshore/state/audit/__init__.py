"""The audit log: records appended by whoever serves calls, in one chain for each day.

A record is never changed. Numbers are given in the order of commits, which those who append agree
upon by a lock, held for the time of one batch.
"""
