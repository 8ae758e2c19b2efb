"""Process plumbing shared by all services: settings, logs, loops, metrics, start and stop."""

import gc

# What a program loads as it starts, it keeps: looking through all of that for garbage again and
# again while it grows takes a sixth of the start, and finds none.
gc.set_threshold(50_000, 20, 20)
