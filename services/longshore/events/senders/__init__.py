"""How each kind of target is delivered to.

A sender delivers one event, or raises `DeliveryFailed`, which says whether to try again can help.
What is sent for an event a second time is the same, with the same id.
"""
