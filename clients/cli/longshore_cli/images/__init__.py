"""What an image costs to pull, and what to change about it.

`registry` and `engine` read what an image consists of, without pulling it; `advice` decides over
that with numbers alone; `words` says it to a person.
"""
