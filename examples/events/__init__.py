"""A webhook that keeps jobs, tasks and instances as items, made of the events that it gets."""
