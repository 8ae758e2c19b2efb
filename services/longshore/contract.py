"""What both sides of the wire hold to besides its messages; no other package of ours is needed."""

#: Largest message that is sent or taken.
MESSAGE_BYTES = 16 * 1024 * 1024
#: Domain of our reasons in `google.rpc.ErrorInfo`.
ERROR_DOMAIN = "longshore"
#: Where the services are if nothing else is said: submission's port, and the distance of each.
DEFAULT_PORT_BASE = 7070
PORT_OFFSETS = {
    "submission": 0,
    "scheduler": 1,
    "scaler": 2,
    "provisioning": 3,
    "logs": 4,
    "events": 5,
    "gateway": 10,
}
#: Where machines join, counted from the port base.
JOIN_OFFSET = 6
