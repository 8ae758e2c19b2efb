"""How a service comes to know who calls it: what `rpc.users` is given by each.

Services with a database read keys and policies there (`stored`); those without ask submission
(`asked`). Both forget what they have read as soon as something of it changes, tell when keys are
used, and answer UNAVAILABLE, rather than anybody, where they cannot find out.
"""
