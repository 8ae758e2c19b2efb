"""Where a job is in its life, in plain words: made at the end, for people."""

from longshore.domain.job.job import JobStatus

PLACED_SOON = "It is placed within the next passes."
CHILDREN_AT_WORK = "Its children are being worked on."
OTHER_NODES = "Its main node has ended; it is over once its other nodes have."
CHILDREN_FAILED = "It failed: its status reason and those of its FAILED children say why."
AFTER_MAIN_NODE = "It starts once the main node of its job runs."
_SENTENCES = {
    JobStatus.SUBMITTED: "The scheduler has not looked at it yet.",
    JobStatus.RUNNABLE: "It is about to be queued.",
    JobStatus.STARTING: "It is placed: its image and container are being made ready.",
    JobStatus.RUNNING: "It runs.",
    JobStatus.SUCCEEDED: "It succeeded.",
    JobStatus.FAILED: "It failed: its status reason and attempts say why.",
}


def where(status: JobStatus) -> str:
    """Where a job is that waits for nothing."""
    return _SENTENCES[status]


def over(status_reason: str | None) -> str:
    """A node has ended."""
    return f"It is over: {(status_reason or '').rstrip('.')}."


def waits_for(dependencies: int) -> str:
    """How many jobs one waits for."""
    return f"It waits for {dependencies} dependenc{'y' if dependencies == 1 else 'ies'}."
