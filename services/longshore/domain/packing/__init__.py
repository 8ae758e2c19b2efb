"""Packing as a matter of numbers: amounts, counts and prices, no jobs and no environments.

`worth` prices what a vCPU, a MiB and a GPU are worth; `filling` fills one instance with a mix;
`blending` chooses instances of many types for jobs of many shapes; `uniform` does so for jobs that
are alike; `longest_run` finds how many of the first jobs fit under a limit; `rooms` keeps what is
free on many instances at a time.
"""
