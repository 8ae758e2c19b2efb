"""What the event service writes: buses, rules with their targets, and what else it keeps."""
