"""Attempts on this instance: each driven one step at a time by a task of its own."""
