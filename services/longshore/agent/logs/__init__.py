"""What attempts print: on this machine's disk, and on its way to the log service."""
