"""Clients that are made from the protos alone, in three languages; see README.md."""
