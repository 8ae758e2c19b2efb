"""Containers through a Docker-compatible engine.

`engine` is the way to the engine, with deadlines and typed failures; `container` turns container
properties into what the engine creates; `image` pulls; `sandbox` keeps the network namespace that
an instance's containers share; `output` reads what they print; `events` tells of their ends;
`runtime` puts these together.
"""
