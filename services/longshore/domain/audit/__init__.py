"""Who called what: an audit log in the form of AWS CloudTrail's.

A record is one text of JSON that never changes (`record`). What it is looked up by follows from the
text, so that both can be held against each other; and each record's digest covers the one before it
on its day, so that none can be changed, taken out or put in without every later digest of the day
being another one (`chain`). What longshore does by itself, as the services that AWS Batch is made
of do, follows from attempts and instances when it is read (`acts`).
"""
