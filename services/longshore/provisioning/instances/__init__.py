"""Instances from their order to their end: records brought together with what the provider has."""
