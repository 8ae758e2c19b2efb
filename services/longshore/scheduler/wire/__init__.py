"""The scheduler on the wire: what agents and others say and are told, checked and converted.

`servicer` takes calls and hands them on, `session` is one agent's stream as seen from here, and
`convert` stands between messages and records: whatever comes is checked there.
"""
