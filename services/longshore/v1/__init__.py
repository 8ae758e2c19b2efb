"""The wire contract as Python modules, generated from `protos/longshore/v1`; never edited."""
