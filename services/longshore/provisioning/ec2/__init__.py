"""The provider that gets instances from Amazon EC2.

It holds nothing of its own: what was launched is found again by its tags. An order becomes one
CreateFleet request of type `instant` for each rank of its list, until the target is reached
(`fleet`), on launch templates that longshore makes from the compute environment (`template`,
`image`), whose user data makes a machine an instance (`user_data`). Prices come from the spot
market and the catalogue (`market`), which can be read anew from EC2 (`refresh`).

What may not happen twice is launching. Each request carries a client token made of the order and
its rank, so that EC2 answers it again with the same instances; and before a rank is asked for,
instances that bear its tag are taken for its answer. A request whose outcome is not known is looked
up by that tag and only then asked again.

Instances end by TerminateInstances alone. One that is gone does not come back (`revives` is false),
and leaves nothing behind.
"""
