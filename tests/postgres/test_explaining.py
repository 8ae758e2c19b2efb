"""Where a job was placed is part of its explanation."""

from support.scheduling import Ended, scheduler_stand

from longshore.domain.job import JobKey
from longshore.scheduler.explaining import explain_job


async def test_each_attempt_with_its_instance(database_url: str) -> None:
    """A machine that joined by itself has no type of ours; before the first attempt: nothing."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        job = await stand.submit(attempts=2)
        await stand.until(job, "RUNNABLE")
        assert (await explain_job(stand.conn, JobKey.parse(job))).attempts == ()
        agent = await stand.agent(answers=lambda _: Ended(exit_code=1))
        await stand.until(job, "FAILED")
        placed = (await explain_job(stand.conn, JobKey.parse(job))).attempts
    assert [(item.attempt, item.instance_id) for item in placed] == [
        (1, agent.instance_id),
        (2, agent.instance_id),
    ]
    assert {(item.compute_environment, item.instance_type) for item in placed} == {("machines", "")}
