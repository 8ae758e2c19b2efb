"""The local provider: each instance is an agent process on this machine."""
