"""What a caller may ask, and what it becomes.

Definitions, queues, compute environments and submissions are checked here, in AWS's texts where
they are known, and turned into what is stored: defaults filled in, overrides merged over the
definition (`merge`, `node_overrides`), `Ref::` replaced (`reference`). `listing` and `reading` are
the other way round: what ListJobs asks of stored jobs, and what of them is shown.

A check names the member at fault and changes nothing. What it lets through is complete: nobody
behind it checks again.
"""
