"""Prices a European call option by Monte Carlo: an array job simulates, another job combines.

Each child seeds itself from its array index, simulates its share of the paths with nothing but awk,
and writes its sums to a mounted directory. The reduce job depends on the array and reads them all.
The same definitions run in containers and, where there is no Docker, as processes: the directory is
mounted at its own path. The instances come with the jobs and go after them (`fleet`).
"""
