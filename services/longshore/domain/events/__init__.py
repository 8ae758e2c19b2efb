"""Events and who gets them: what EventBridge's API may be asked, and what it means.

`pattern` says which events a rule is for, `transform` what a target gets of one, `schedule` when a
rule makes one by itself. `request` and its siblings check what is asked for and name what is wrong,
in AWS's words where those are known. All of it is pure: an event is decoded JSON, a time an
argument.
"""
